package status

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"time"
)

// sessionTime is how long somebody stays signed in.
const sessionTime = 12 * time.Hour

// Session is somebody who signed in.
type Session struct {
	User string `json:"user"`
	// Credential is of what the user signed in with: another password ends the sessions of the one before.
	Credential string    `json:"credential"`
	Until      time.Time `json:"until"`
}

// Sessions tell who signed in. Servers that share one accept each other's sessions.
type Sessions interface {
	Open(s Session) (token string, err error)
	// Find is for whom a token was made, unless it was ended.
	Find(token string) (Session, bool)
	End(token string)
}

// Sealed are sessions that a token holds by itself, under a key: servers with the same key share them, and need to
// remember none. Each remembers those that were ended at it. Make it with NewSealed.
type Sealed struct {
	key   []byte
	now   func() time.Time
	mu    sync.Mutex
	ended map[string]time.Time // tokens, until they are over anyway
}

// maxEnded bounds the memory. Only who has a session can end one.
const maxEnded = 10000

// NewSealed makes sessions under a key of 32 bytes; nil makes one that nobody else has.
func NewSealed(key []byte) *Sealed {
	if key == nil {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails
	}
	return &Sealed{key: key, now: time.Now, ended: map[string]time.Time{}}
}

// sealedSession is what a token says.
type sealedSession struct {
	Session
	ID string `json:"id"` // no two are the same, so that one can be ended
}

var encoding64 = base64.RawURLEncoding.Strict() // a token has one spelling, so that an ended one has no other

// Open implements Sessions.
func (s *Sealed) Open(of Session) (token string, err error) {
	b, err := json.Marshal(sealedSession{of, rand.Text()})
	if err != nil {
		return "", err
	}
	return encoding64.EncodeToString(b) + "." + encoding64.EncodeToString(s.seal(b)), nil
}

func (s *Sealed) seal(b []byte) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte("bakehouse session 1\n"))
	m.Write(b)
	return m.Sum(nil)
}

// Find implements Sessions.
func (s *Sealed) Find(token string) (of Session, ok bool) {
	text, seal, _ := strings.Cut(token, ".")
	b, err := encoding64.DecodeString(text)
	if err != nil {
		return Session{}, false
	}
	given, err := encoding64.DecodeString(seal)
	if err != nil || !hmac.Equal(given, s.seal(b)) {
		return Session{}, false
	}
	var found sealedSession
	if json.Unmarshal(b, &found) != nil || !s.now().Before(found.Until) {
		return Session{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ended := s.ended[token]; ended {
		return Session{}, false
	}
	return found.Session, true
}

// End implements Sessions.
func (s *Sealed) End(token string) {
	of, ok := s.Find(token)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for token, until := range s.ended {
		if !now.Before(until) || len(s.ended) >= maxEnded {
			delete(s.ended, token)
		}
	}
	s.ended[token] = of.Until
}
