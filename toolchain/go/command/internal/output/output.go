// Package output records what one command writes, shows it live, and makes the error of a command that failed.
package output

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"

	p "github.com/pulumi/pulumi-go-provider"

	"reflector/toolchain/command/internal/redact"
)

// Environment variables that carry the output of the resource's last run to its next one.
const (
	PreviousStdout = "PULUMI_COMMAND_STDOUT"
	PreviousStderr = "PULUMI_COMMAND_STDERR"
)

// maxLogLine is the most bytes that one log line carries; a longer line is shown in pieces.
const maxLogLine = 16 << 10

// maxErrorOutput is the most bytes of a failed command's output that its error carries: the last ones, where the
// reason is. The whole output was shown live.
const maxErrorOutput = 32 << 10

// Which streams are shown live, by the values of the SDK's Logging enums.
const (
	LogStdout          = "stdout"
	LogStderr          = "stderr"
	LogStdoutAndStderr = "stdoutAndStderr"
	LogNone            = "none"
)

// Recorder takes the output of one run. Its two writers may be used from different goroutines.
type Recorder struct {
	Stdout, Stderr *Stream

	mu       sync.Mutex
	combined tail
}

// NewRecorder starts a recording. The mode is one of the Log constants, or empty for the default, both streams.
func NewRecorder(ctx context.Context, mode string) *Recorder {
	// A cancelled operation still has output to show, so the log call must outlive the cancellation.
	logger := p.GetLogger(context.WithoutCancel(ctx))
	show := func(line string) {
		logger.InfoStatus(redact.Text(ctx, strings.ToValidUTF8(line, "\uFFFD")))
	}
	both := mode == "" || mode == LogStdoutAndStderr
	r := &Recorder{}
	// Who shows nothing hands over a secret, on stdout; what went wrong is on stderr.
	r.Stdout = &Stream{recorder: r, logged: both || mode == LogStdout, told: mode != LogNone, show: show}
	r.Stderr = &Stream{recorder: r, logged: both || mode == LogStderr, told: true, show: show}
	return r
}

// Finish shows the last lines that did not end in a newline. Call it when the command has ended.
func (r *Recorder) Finish() {
	r.Stdout.finish()
	r.Stderr.finish()
}

// Failure is the error of a command that failed: how it ended, the command, and the last of its output in the order it
// came, all without secrets; nothing of stdout where the mode is LogNone.
func (r *Recorder) Failure(ctx context.Context, command string, cause error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	// Secrets go before quoting: a quoted secret no longer looks like itself.
	return fmt.Errorf("%w: running %q:\n%s", cause, redact.Text(ctx, command), redact.Text(ctx, r.combined.String()))
}

// Stream is one of the two streams of a run. It implements io.Writer and never fails.
type Stream struct {
	recorder *Recorder
	logged   bool // shown live
	told     bool // part of the error of a command that fails
	show     func(line string)
	all      bytes.Buffer
	line     []byte
}

// Write records the bytes and shows every line that is complete.
func (s *Stream) Write(b []byte) (int, error) {
	s.all.Write(b)
	if s.told {
		s.recorder.mu.Lock()
		s.recorder.combined.write(b)
		s.recorder.mu.Unlock()
	}
	if !s.logged {
		return len(b), nil
	}
	s.line = append(s.line, b...)
	for {
		end := bytes.IndexByte(s.line, '\n')
		next := end + 1
		if end < 0 || end > maxLogLine {
			if len(s.line) <= maxLogLine {
				return len(b), nil
			}
			end, next = maxLogLine, maxLogLine
		}
		s.show(strings.TrimSuffix(string(s.line[:end]), "\r"))
		s.line = s.line[next:]
	}
}

func (s *Stream) finish() {
	if len(s.line) > 0 {
		s.show(string(s.line))
		s.line = nil
	}
}

// Text is the whole stream without its last newline. Bytes that are not UTF-8 are replaced, since the state holds text.
func (s *Stream) Text() string {
	return strings.ToValidUTF8(strings.TrimSuffix(s.all.String(), "\n"), "\uFFFD")
}

// tail keeps the last maxErrorOutput bytes written to it.
type tail struct {
	bytes   []byte
	dropped int
}

func (t *tail) write(b []byte) {
	t.bytes = append(t.bytes, b...)
	// Cut only when twice the limit is held, so that the cost of moving bytes stays in proportion to the output.
	if len(t.bytes) > 2*maxErrorOutput {
		t.cut()
	}
}

func (t *tail) cut() {
	if over := len(t.bytes) - maxErrorOutput; over > 0 {
		t.bytes = append([]byte(nil), t.bytes[over:]...)
		t.dropped += over
	}
}

func (t *tail) String() string {
	t.cut()
	text := strings.ToValidUTF8(string(t.bytes), "\uFFFD")
	if t.dropped > 0 {
		// The first line may have lost its beginning, and with it the beginning of a secret that redaction would know.
		if _, rest, found := strings.Cut(text, "\n"); found {
			text = rest
		}
		return fmt.Sprintf("[about %d earlier bytes left out]\n%s", t.dropped, text)
	}
	return text
}
