package main

import (
	"time"

	"github.com/comfyvisor/comfyvisor/internal/secret"
)

// Config is everything that the environment says, and the only place where the
// names of variables are written down. Besides the tags of caarlos0/env:
//
//	help    what the variable means; the help text and docs/configuration.md
//	        are made from it
//	oneof   the values allowed, in any case
//	min,max the bounds of a number or a duration, or the length of a secret
//	unit    the variable is a bare number of these
//	format  url, address or words: what the text has to look like
//	also    what other programs call it; see adopt for when those names count
type Config struct {
	General GeneralConfig `group:"General"`
	Comfy   ComfyConfig   `group:"ComfyUI"`
	Jobs    JobsConfig    `group:"Jobs"`
	Bucket  BucketConfig  `group:"S3"`
	API     APIConfig     `group:"Local API"`
	Watch   WatchConfig   `group:"Supervision"`
	Log     LogConfig     `group:"Logs and status"`
	Queue   QueueConfig   `group:"Queue"`

	// Adopted are the variables that have the value of another program's name
	// for them, with that name.
	Adopted map[string]string
}

// GeneralConfig is what changes the whole program.
type GeneralConfig struct {
	Refresh bool   `env:"REFRESH_WORKER" envDefault:"false" help:"stop the pod after each completed job, so that the next one finds a clean state"`
	Local   bool   `env:"SERVE_API_LOCALLY" envDefault:"false" help:"serve RunPod's job API on API_PORT instead of taking jobs from the queue, and let ComfyUI listen on all addresses"`
	DataDir string `env:"DATA_DIR" envDefault:"/tmp/comfyvisor" help:"folder for files of our own: the jobs of the local API and their results, which outlive a restart when the folder does, and what is downloaded; where it cannot be written to, memory is used"`

	PublicKey string `env:"PUBLIC_KEY" help:"SSH public key, or one a line: an SSH server that lets root in with it is started, if the image has one; RunPod sets it"`
	SSHPort   int    `env:"SSH_PORT" envDefault:"22" min:"1" max:"65535" help:"its port"`

	Volume      string `env:"RUNPOD_VOLUME_PATH" help:"where the network volume is mounted; unset means /runpod-volume, or /workspace where only that is there"`
	VolumeDebug bool   `env:"NETWORK_VOLUME_DEBUG" envDefault:"false" help:"log at the start what is on the network volume: models by kind, files that ComfyUI will not list and why, likely mistakes; comfyvisor doctor prints the same"`
}

// ComfyConfig is how ComfyUI is started and what it is given.
type ComfyConfig struct {
	Home      string      `env:"COMFY_HOME" envDefault:"/comfyui" help:"where ComfyUI lives"`
	Command   string      `env:"COMFY_COMMAND" envDefault:"python $COMFY_HOME/main.py" format:"words" help:"how it is started; split into words as a shell would, but run without one; $COMFY_HOME is filled in, and the standard flags are appended"`
	ExtraArgs string      `env:"COMFY_EXTRA_ARGS" format:"words" help:"further flags, split in the same way; one that is given here replaces the standard flag of that name"`
	Instances string      `env:"COMFY_INSTANCES" envDefault:"1" format:"count" help:"how many ComfyUIs run side by side, each with a GPU of its own as long as there are enough, and on the ports from COMFY_PORT on; auto is one for each visible GPU"`
	Port      int         `env:"COMFY_PORT" envDefault:"8188" min:"1" max:"65535" help:"the port that it listens on"`
	OutputDir string      `env:"COMFY_OUTPUT_DIR" help:"where its outputs are read from, passed on as --output-directory; unset means $COMFY_HOME/output"`
	ModelPath string      `env:"EXTRA_MODEL_PATHS" help:"where ComfyUI looks for models besides its own folders: a model path file (--extra-model-paths-config), or auto, which writes one at each start from what is on RUNPOD_VOLUME_PATH; unset leaves it to the extra_model_paths.yaml in $COMFY_HOME"`
	CPU       bool        `env:"COMFY_CPU" envDefault:"false" help:"run it on the CPU (--cpu), and do not look for a GPU before the start"`
	GPUCheck  string      `env:"GPU_CHECK" envDefault:"auto" oneof:"auto off required" help:"look for a GPU before the start: auto does unless ComfyUI runs on the CPU, off never, required always"`
	TCMalloc  bool        `env:"COMFY_TCMALLOC" envDefault:"true" help:"start it with tcmalloc where that is installed, which keeps its memory from growing; an LD_PRELOAD of your own comes first"`
	Manager   string      `env:"COMFY_MANAGER_MODE" envDefault:"offline" oneof:"offline private public keep" help:"how much of the network ComfyUI-Manager uses, where that is installed: offline does not delay the start by its downloads; keep leaves its configuration as it is"`
	LogLevel  string      `env:"COMFY_LOG_LEVEL" envDefault:"DEBUG" oneof:"DEBUG INFO WARNING ERROR CRITICAL" help:"how much it logs"`
	OrgAPIKey secret.Text `env:"COMFY_ORG_API_KEY" help:"Comfy.org key for API nodes, sent with each workflow; input.api_key_comfy_org of a job comes first"`
	WarmUp    string      `env:"WARMUP_WORKFLOW" help:"a workflow, or a job, in a JSON file, or a directory of such files: each new ComfyUI runs them before it gets jobs, and what they make is thrown away; while one fails no job is taken"`
	EnvPass   []string    `env:"COMFY_ENV_PASS" help:"variables that ComfyUI is given although they would be kept from it"`
	EnvStrict bool        `env:"COMFY_ENV_STRICT" envDefault:"false" help:"give ComfyUI only the variables known to be needed, and those of COMFY_ENV_PASS"`
}

// JobsConfig is how jobs are run.
type JobsConfig struct {
	Prefetch         int           `env:"JOB_PREFETCH" envDefault:"0" max:"1" help:"how many jobs are taken and prepared while one runs; REFRESH_WORKER turns it off"`
	Timeout          time.Duration `env:"JOB_TIMEOUT" envDefault:"0" help:"longest execution of a job for which the platform tells no limit; 0 sets none"`
	ResultLimit      int           `env:"RESULT_LIMIT_MB" envDefault:"20" max:"1048576" help:"largest result in megabytes that is sent to the queue, RunPod's own limit being 20; 0 sets none"`
	MinFree          int           `env:"MIN_FREE_MB" envDefault:"512" max:"1048576" help:"megabytes that have to be free where ComfyUI keeps outputs and inputs; where they are not, leftovers of earlier jobs are removed, and if that does not help the job fails; 0 asks for none"`
	WorkflowCheck    string        `env:"WORKFLOW_CHECK" envDefault:"on" oneof:"on off" help:"compare workflows with ComfyUI's own list of nodes and models before they are sent, refuse what it is bound to refuse, and tell in every refusal which names may have been meant; off leaves it all to ComfyUI, for installations where a custom node replaces missing nodes or models itself"`
	MaxDownload      int           `env:"MAX_DOWNLOAD_MB" envDefault:"1024" max:"1048576" help:"how many megabytes a job may download in all, for the files that its input names by URL; 0 refuses URLs"`
	PrivateURLs      bool          `env:"ALLOW_PRIVATE_URLS" envDefault:"false" help:"download from any address and port, also from those that only this pod can reach; for use at home, where nobody else sends jobs"`
	ProgressInterval time.Duration `env:"PROGRESS_INTERVAL" envDefault:"2s" min:"100ms" help:"least time between two reports of a job's progress"`
	Previews         bool          `env:"PROGRESS_PREVIEWS" envDefault:"false" help:"show unfinished pictures in a job's stream, one at most every PROGRESS_INTERVAL; for that, and for the console, which comes with SERVE_API_LOCALLY, ComfyUI is started with --preview-method auto unless COMFY_EXTRA_ARGS has the flag"`
	OutputFormat     string        `env:"OUTPUT_FORMAT" envDefault:"original" oneof:"original jpeg png webp" help:"what still pictures are made into before they are delivered; input.output.format of a job comes first"`
	OutputQuality    int           `env:"OUTPUT_QUALITY" envDefault:"0" max:"100" help:"how good they are then, from 1 to 100; 0 is the usual one of the format: 90 for jpeg, 80 for webp, of which 100 is without loss; input.output.quality of a job comes first"`
	OutputMaxEdge    int           `env:"OUTPUT_MAX_EDGE" envDefault:"0" max:"16384" help:"how many pixels the longer side of a still picture may have, larger ones are made smaller; 0 sets no limit; input.output.max_edge of a job comes first"`
	SocketAttempts   int           `env:"WEBSOCKET_RECONNECT_ATTEMPTS" envDefault:"5" max:"1000" help:"how often a broken websocket is opened again during a job, the first time at once; then the job goes on by polling"`
	SocketDelay      time.Duration `env:"WEBSOCKET_RECONNECT_DELAY_S" envDefault:"3" unit:"s" max:"3600" help:"seconds between those attempts"`
	SocketTrace      bool          `env:"WEBSOCKET_TRACE" envDefault:"false" help:"log every frame of the websocket"`
}

// BucketConfig is where files of results are kept.
type BucketConfig struct {
	Endpoint        string        `env:"BUCKET_ENDPOINT_URL" also:"S3_ENDPOINT_URL AWS_ENDPOINT_URL" format:"url" help:"where the bucket is; unset means that files travel inside the result, as base64"`
	AccessKeyID     secret.Text   `env:"BUCKET_ACCESS_KEY_ID" also:"S3_ACCESS_KEY_ID S3_ACCESS_KEY AWS_ACCESS_KEY_ID" help:"required with BUCKET_ENDPOINT_URL"`
	SecretAccessKey secret.Text   `env:"BUCKET_SECRET_ACCESS_KEY" also:"S3_SECRET_ACCESS_KEY S3_SECRET_KEY AWS_SECRET_ACCESS_KEY" help:"required with BUCKET_ENDPOINT_URL"`
	Region          string        `env:"AWS_DEFAULT_REGION" also:"S3_REGION AWS_REGION" help:"the region; unset means the one that the endpoint's host tells"`
	Name            string        `env:"BUCKET_NAME" also:"S3_BUCKET_NAME S3_BUCKET" help:"the bucket, where BUCKET_ENDPOINT_URL does not name it"`
	Prefix          string        `env:"BUCKET_PREFIX" help:"folder in the bucket, put before BUCKET_KEY_TEMPLATE"`
	KeyTemplate     string        `env:"BUCKET_KEY_TEMPLATE" envDefault:"{date}/{job_id}/{filename}" help:"the key of each file, made of {date} {job_id} {node} {filename} {name} {ext} {index}"`
	PresignExpiry   time.Duration `env:"BUCKET_PRESIGN_EXPIRY" also:"S3_SIGNED_URL_EXPIRY" envDefault:"7d" min:"1s" max:"7d" help:"how long the URLs in results are valid, where the store has presigned ones"`
	PublicURL       string        `env:"BUCKET_PUBLIC_URL" also:"S3_PUBLIC_URL" format:"url" help:"URL under which anybody can read the bucket; results then have plain URLs below it"`
	Style           string        `env:"BUCKET_ADDRESSING_STYLE" also:"S3_ADDRESSING_STYLE" envDefault:"auto" oneof:"auto path virtual" help:"whether the bucket is named in the path or in the host; auto tells it from the endpoint"`
}

// APIConfig is where the local API listens.
type APIConfig struct {
	Host  string      `env:"API_HOST" envDefault:"0.0.0.0" help:"address of the local API"`
	Port  int         `env:"API_PORT" envDefault:"8000" min:"1" max:"65535" help:"its port"`
	Token secret.Text `env:"API_TOKEN" min:"16" help:"what every request has to bring as Authorization: Bearer TOKEN, 16 characters or more; unset lets everybody in"`

	Hosts []string `env:"API_HOSTS" help:"the names under which the local API may be called, besides localhost; unset means any name with API_TOKEN, and without it only addresses and names of a local network, because a web site can make a name of its own point here"`

	WebhookSecret secret.Text `env:"WEBHOOK_SECRET" min:"16" help:"signs the webhooks of the local API, so that their receivers can tell them from others; docs/api.md says how to check the signature; unset leaves them unsigned"`

	BalancedPort int    `env:"PORT" max:"65535" help:"where a pod behind RunPod's load balancer serves the job API; it counts only without a queue and without SERVE_API_LOCALLY, and is 80 when PORT_HEALTH alone is set"`
	HealthPort   int    `env:"PORT_HEALTH" max:"65535" help:"where the load balancer asks for HEALTH_CHECK_PATH; unset means PORT"`
	HealthPath   string `env:"HEALTH_CHECK_PATH" envDefault:"/ping" help:"what it asks for: 204 while ComfyUI starts, 200 when jobs can be run; no token is needed"`
}

// WatchConfig is how ComfyUI is watched, restarted and stopped.
type WatchConfig struct {
	ReadyInterval time.Duration `env:"COMFY_API_AVAILABLE_INTERVAL_MS" envDefault:"50" unit:"ms" min:"1" max:"60000" help:"milliseconds between two looks whether a starting ComfyUI answers"`
	ReadyTries    int           `env:"COMFY_API_AVAILABLE_MAX_RETRIES" envDefault:"0" help:"how many such looks a start is given; 0 sets no limit but BOOT_LIMIT and BOOT_STALL"`
	BootLimit     time.Duration `env:"BOOT_LIMIT" envDefault:"10m" min:"1s" help:"how long a starting ComfyUI may be busy without writing a line or reading from the disk; one that gets on is given six times as long in all; RunPod's own limit is 7 minutes unless RUNPOD_INIT_TIMEOUT sets another"`
	BootStall     time.Duration `env:"BOOT_STALL" envDefault:"3m" min:"1s" help:"longest time that a starting ComfyUI shows no sign of life"`
	LiveInterval  time.Duration `env:"LIVENESS_INTERVAL" envDefault:"5s" min:"100ms" help:"time between two looks whether ComfyUI still answers"`
	LiveFailures  int           `env:"LIVENESS_FAILURES" envDefault:"6" min:"1" help:"how many such looks in a row have to fail before ComfyUI is restarted; LIVENESS_SILENCE has to be over as well"`
	LiveSilence   time.Duration `env:"LIVENESS_SILENCE" envDefault:"2m" min:"1s" help:"how long there has to be no sign of life of any kind before ComfyUI is restarted"`
	LiveLimit     time.Duration `env:"LIVENESS_LIMIT" envDefault:"15m" min:"1s" help:"how long a ComfyUI that uses the processor may answer nothing, write no line and send no event before it is restarted all the same"`
	Backoff       time.Duration `env:"RESTART_BACKOFF" envDefault:"500ms" help:"wait before the restart after a second crash in a row; it doubles with each further one"`
	BackoffMax    time.Duration `env:"RESTART_BACKOFF_MAX" envDefault:"30s" help:"longest such wait"`
	Healthy       time.Duration `env:"RESTART_RESET" envDefault:"1m" help:"how long ComfyUI has to be ready for its next crash to count as the first"`
	Boots         int           `env:"RESTART_BOOT_FAILURES" envDefault:"5" min:"1" help:"after how many starts in a row without ever being ready the pod gives up"`
	AfterJobs     int           `env:"RESTART_AFTER_JOBS" envDefault:"0" help:"after how many jobs ComfyUI is restarted, between two of them; 0 asks for none"`
	AtMemory      float64       `env:"RESTART_AT_MEMORY" envDefault:"0" help:"share of the container's memory limit, such as 0.9, at which ComfyUI is restarted between two jobs; files that the kernel keeps in memory do not count; 0 asks for none"`
	AfterUptime   time.Duration `env:"RESTART_AFTER_UPTIME" envDefault:"0" help:"after which time of being ready ComfyUI is restarted when it has no job; 0 asks for none"`
	Unfit         time.Duration `env:"UNFIT_LIMIT" envDefault:"5m" help:"at a queue, how long the disk may stay full before the pod gives up; it also gives up after 6 jobs in a row that failed by its own fault; 0 lets it wait for ever"`
	StopBudget    time.Duration `env:"STOP_BUDGET" envDefault:"9s" min:"1s" help:"longest time from SIGTERM to the end of the program; Docker kills after 10 s"`
	Grace         time.Duration `env:"COMFY_STOP_GRACE" envDefault:"3s" help:"time from SIGTERM to SIGKILL for ComfyUI, within STOP_BUDGET"`
}

// LogConfig is what the program tells of itself.
type LogConfig struct {
	Level      string `env:"LOG_LEVEL" oneof:"debug info warn error" help:"how much the program itself logs; unset means RUNPOD_LOG_LEVEL, then RUNPOD_DEBUG_LEVEL, then info"`
	Format     string `env:"LOG_FORMAT" envDefault:"auto" oneof:"auto json console" help:"json has one object a line, with requestId, message and level; auto is json on RunPod and console elsewhere"`
	Profile    bool   `env:"STATUS_PPROF" envDefault:"false" help:"serve Go's profiles at /debug/pprof/ of STATUS_ADDR, for who looks for a fault in comfyvisor itself"`
	StatusAddr string `env:"STATUS_ADDR" envDefault:"127.0.0.1:8001" format:"address" help:"address of /healthz, /readyz, /metrics and /debug/state"`
}

// QueueConfig is what RunPod, or a server with the same worker protocol, sets.
type QueueConfig struct {
	TakeURL      secret.Text   `env:"RUNPOD_WEBHOOK_GET_JOB" format:"url" help:"where jobs are taken from; $ID is the worker"`
	DoneURL      secret.Text   `env:"RUNPOD_WEBHOOK_POST_OUTPUT" format:"url" help:"where results go; $RUNPOD_POD_ID is the worker, $ID the job"`
	StreamURL    secret.Text   `env:"RUNPOD_WEBHOOK_POST_STREAM" format:"url" help:"where parts of results go, with the same names in it"`
	PingURL      secret.Text   `env:"RUNPOD_WEBHOOK_PING" format:"url" help:"where heartbeats go; unset sends none"`
	PingInterval time.Duration `env:"RUNPOD_PING_INTERVAL" envDefault:"10000" unit:"ms" min:"1" max:"3600000" help:"milliseconds between heartbeats, rounded down to whole seconds, at least one"`
	APIKey       secret.Text   `env:"RUNPOD_AI_API_KEY" help:"the worker's key, sent as it is; without it no heartbeat is sent"`
	ClientKey    secret.Text   `env:"RUNPOD_API_KEY" help:"the key with which comfyvisor submit --endpoint asks an endpoint of RunPod; the pod itself needs none"`
	WorkerID     string        `env:"RUNPOD_POD_ID" help:"the worker's name; unset means a random one"`
	EndpointID   string        `env:"RUNPOD_ENDPOINT_ID" help:"the endpoint's name; when set, logs are JSON"`
	LogLevel     string        `env:"RUNPOD_LOG_LEVEL" oneof:"NOTSET TRACE DEBUG INFO WARN ERROR" help:"stands in for LOG_LEVEL"`
	DebugLevel   string        `env:"RUNPOD_DEBUG_LEVEL" oneof:"NOTSET TRACE DEBUG INFO WARN ERROR" help:"stands in for RUNPOD_LOG_LEVEL"`
}
