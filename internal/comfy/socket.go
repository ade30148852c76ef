package comfy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// handshakeTimeout is generous: the attempt waits while ComfyUI loads a
	// model, and nobody waits for the attempt.
	handshakeTimeout = 30 * time.Second
	pingEvery        = 5 * time.Second
	pongWithin       = 5 * time.Second
	hangUpTimeout    = time.Second
	// frameLimit bounds a message. What a node reports comes in one.
	frameLimit = 64 << 20
	// bufferKept is the size up to which the buffer for messages is reused.
	bufferKept = 1 << 20
)

// featureFlags has to be the first message. It makes ComfyUI tell node and
// prompt with each preview; older ones ignore it.
var featureFlags = []byte(`{"type":"feature_flags","data":{"supports_preview_metadata":true}}`)

// dial opens a socket. It sends no Origin, which ComfyUI would compare with the
// Host, and offers no compression.
func (s *stream) dial(ctx context.Context) (*websocket.Conn, error) {
	stop := func() bool { return true }
	dialer := websocket.Dialer{
		HandshakeTimeout: handshakeTimeout,
		ReadBufferSize:   32 << 10,
		NetDialContext: func(dialCtx context.Context, network, addr string) (net.Conn, error) {
			conn, err := s.cfg.Dial(dialCtx, network, addr)
			if err == nil {
				// The handshake itself does not look at the context.
				stop = context.AfterFunc(ctx, func() { conn.Close() })
			}
			return conn, err
		},
	}
	target := "ws://" + s.cfg.Addr + "/ws?clientId=" + url.QueryEscape(s.clientID)
	conn, resp, err := dialer.DialContext(ctx, target, nil)
	stop()
	if err != nil {
		return nil, refusal(resp, err)
	}
	return conn, nil
}

// greet sends the first message.
func (s *stream) greet(conn *websocket.Conn) error {
	s.cfg.Trace("sent", featureFlags)
	_ = conn.SetWriteDeadline(time.Now().Add(pongWithin))
	return conn.WriteMessage(websocket.TextMessage, featureFlags)
}

func refusal(resp *http.Response, err error) error {
	if resp == nil {
		return withoutURL(err)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, errorBodyLimit)) // gorilla has read it already
	return &HTTPError{Method: http.MethodGet, Path: "/ws", Status: resp.StatusCode, Body: string(body)}
}

// serve reads a socket until it breaks, is told to close it, or nobody needs it
// any more. In the last two cases the socket is closed when it returns, on
// ComfyUI's side too if that still answers: closed later, it would take its
// successor along.
func (s *stream) serve(ctx context.Context, conn *websocket.Conn) error {
	select {
	case <-s.renew: // meant for the one before
	default:
	}
	broken := make(chan error, 1)
	go func() { broken <- s.read(conn) }()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	var why error
	for why == nil {
		select {
		case err := <-broken:
			return fmt.Errorf("read event socket: %w", err)
		case <-ping.C:
			// If it cannot be sent, no pong comes and the reader ends.
			_ = conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(pongWithin))
			if s.retire() {
				why = errIdle
			}
		case <-s.renew:
			why = errRenew
		case <-ctx.Done():
			why = ctx.Err()
		}
	}
	hangUp(conn, broken)
	return why
}

// hangUp asks ComfyUI to close the socket and waits until it has, but not long.
func hangUp(conn *websocket.Conn, broken <-chan error) {
	timeout := time.NewTimer(hangUpTimeout)
	defer timeout.Stop()
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(hangUpTimeout))
	select {
	case <-broken:
	case <-timeout.C:
		conn.Close()
		<-broken
	}
}

// read hands every frame on until the socket breaks. When ComfyUI answered a
// close, it waits for the end of the connection: by then the server has
// forgotten the socket.
func (s *stream) read(conn *websocket.Conn) (err error) {
	defer s.contain(&err)
	conn.SetReadLimit(frameLimit)
	alive := func(string) error { return conn.SetReadDeadline(time.Now().Add(pingEvery + pongWithin)) }
	_ = alive("")
	conn.SetPongHandler(alive)
	var buffer bytes.Buffer
	for {
		kind, frame, err := conn.NextReader()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			_ = conn.SetReadDeadline(time.Now().Add(hangUpTimeout))
			_, _ = io.Copy(io.Discard, conn.NetConn())
		}
		if err != nil {
			return err
		}
		if buffer.Cap() > bufferKept {
			buffer = bytes.Buffer{}
		}
		buffer.Reset()
		if _, err := buffer.ReadFrom(frame); err != nil {
			return err
		}
		_ = alive("")
		s.frames.Add(1)
		s.cfg.Trace("received", buffer.Bytes())
		s.receive(kind, buffer.Bytes())
	}
}
