package comfy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// A Frame is an image that a node sends over the event socket instead of saving
// it. SaveImageWebsocket does.
type Frame struct {
	Node string
	MIME string
	Data []byte
}

// Kinds of binary frames.
const (
	previewFrame         = 1
	unencodedFrame       = 2 // of the server's own use, yet custom nodes send it
	textFrame            = 3
	metadataPreviewFrame = 4
)

// errShortFrame is a frame whose header promises more than there is.
var errShortFrame = errors.New("the frame is shorter than its header says")

// decodeBinary reads a binary frame. The images in the message lie in frame,
// which must not be changed while they are used. Frames of unknown kinds are no
// error. Only the frames of newer servers tell node and prompt.
func decodeBinary(frame []byte) (message, error) {
	kind, body, err := takeUint32(frame)
	if err != nil {
		return message{}, fmt.Errorf("decode binary frame of %d bytes: %w", len(frame), err)
	}
	var m message
	switch kind {
	case previewFrame, unencodedFrame:
		m, err = decodePreview(body)
	case textFrame:
		m, err = decodeNodeText(body)
	case metadataPreviewFrame:
		m, err = decodeMetadataPreview(body)
	}
	if err != nil {
		return message{}, fmt.Errorf("decode binary frame of kind %d, %d bytes: %w", kind, len(frame), err)
	}
	return m, nil
}

func decodePreview(body []byte) (message, error) {
	_, image, err := takeUint32(body) // JPEG or PNG, which the image tells better
	if err != nil {
		return message{}, err
	}
	return message{running: true, event: Preview{MIME: imageType(image), Data: image}}, nil
}

func decodeNodeText(body []byte) (message, error) {
	node, said, err := takeChunk(body)
	if err != nil {
		return message{}, err
	}
	return message{running: true, event: Text{
		Node: strings.ToValidUTF8(string(node), "�"),
		Text: strings.ToValidUTF8(string(said), "�"),
	}}, nil
}

func decodeMetadataPreview(body []byte) (message, error) {
	head, image, err := takeChunk(body)
	if err != nil {
		return message{}, err
	}
	var meta struct {
		NodeID        string `json:"node_id"`
		DisplayNodeID string `json:"display_node_id"`
		PromptID      string `json:"prompt_id"`
	}
	if err := decode(head, &meta); err != nil {
		return message{}, err
	}
	node := meta.DisplayNodeID
	if node == "" {
		node = meta.NodeID
	}
	return message{
		prompt:  meta.PromptID,
		running: true,
		event:   Preview{Node: node, MIME: imageType(image), Data: image},
	}, nil
}

// imageType is the type that the first bytes of an image tell.
func imageType(image []byte) string { return http.DetectContentType(image) }

func takeUint32(b []byte) (n uint32, rest []byte, err error) {
	if len(b) < 4 {
		return 0, nil, errShortFrame
	}
	return binary.BigEndian.Uint32(b), b[4:], nil
}

// takeChunk takes a length and that many bytes.
func takeChunk(b []byte) (chunk, rest []byte, err error) {
	n, rest, err := takeUint32(b)
	if err != nil {
		return nil, nil, err
	}
	if uint64(n) > uint64(len(rest)) {
		return nil, nil, errShortFrame
	}
	return rest[:n], rest[n:], nil
}
