package manager

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	uberzap "go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// logLevel is what is logged, which can be changed while the process runs.
type logLevel struct {
	uberzap.AtomicLevel
	// flags is the level that the flags ask for.
	flags zapcore.Level
	log   logr.Logger
}

// SetLogger has the flags decide what is logged, by our code and by libraries. From then on SIGUSR1 has the process log what it does for
// each message too, and SIGUSR2 what the flags say: a level that takes a restart to change hides what one wanted to see.
func (f *Flags) SetLogger() {
	log, level := f.logger()
	ctrl.SetLogger(log)
	klog.SetLogger(ctrl.Log.WithName("kubernetes")) // the libraries' own words, in the same form
	level.followSignals()
}

// logger makes the process's logger and its level.
func (f *Flags) logger() (logr.Logger, *logLevel) {
	level := &logLevel{flags: zapcore.InfoLevel}
	if f.logging.Development {
		level.flags = zapcore.DebugLevel
	}
	if f.logging.Level != nil {
		level.flags = zapcore.LevelOf(f.logging.Level)
	}
	level.AtomicLevel = uberzap.NewAtomicLevelAt(level.flags)
	options := f.logging
	options.Level = level.AtomicLevel
	level.log = zap.New(zap.UseFlagOptions(&options))
	return level.log, level
}

// followSignals follows signals until stop is called.
func (l *logLevel) followSignals() (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for each := range signals {
			l.follow(each)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}

func (l *logLevel) follow(each os.Signal) {
	level := l.flags
	if each == syscall.SIGUSR1 {
		level = min(l.flags, zapcore.DebugLevel)
	}
	l.SetLevel(level)
	l.log.Info("Changed the level of the log", "logs", level.String())
}
