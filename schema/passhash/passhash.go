// Package passhash hashes the passwords of users and checks them: argon2id in PHC form, and bcrypt for hashes that
// other tools made. Whoever reads the config repo has the hashes, so they are costly to try; and a server computes one
// for whoever asks, so their cost is bounded. `access add` makes them here, the evaluation of access.cue refuses here
// what servers would not compute, and servers check passwords here.
package passhash

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"bakehouse/schema/fault"
)

// MaxLen is the longest password, in bytes.
const MaxLen = 1024

// What `access add` makes: OWASP's first choice, 26 ms of CPU.
const (
	memory = 19456 // KiB
	passes = 2
	lanes  = 1
)

// Bounds on what is computed. The most costly argon2id hash has RFC 9106's second choice, and takes half the time of
// the most costly bcrypt hash, which takes about 1 s.
const (
	maxMemory = 64 << 10 // KiB
	maxWork   = 3 * maxMemory
	maxLanes  = 4
	minSalt   = 8
	minSum    = 16
	maxPart   = 64
	maxCost   = 14
	maxBcrypt = 72 // what bcrypt reads of a password
)

// Hash is a hash that is well formed and within the bounds. The zero Hash matches nothing, and at once.
type Hash struct {
	memory, passes uint32 // of argon2id; memory in KiB
	lanes          uint8
	salt, sum      []byte
	bcrypt         []byte // the hash as it is written; nil: argon2id
	cost           int
}

// The salt and the sum are unpadded base64, of which trailing bits of the last digit are to be 0.
var (
	b64 = base64.RawStdEncoding.Strict()
	phc = regexp.MustCompile(`^\$argon2id\$v=19\$m=([1-9]\d{0,8}),t=([1-9]\d{0,8}),p=([1-9]\d{0,8})` +
		`\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)
	crypted = regexp.MustCompile(`^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$`)
)

// New hashes a password under a random salt.
func New(password []byte) (Hash, error) {
	if len(password) > MaxLen {
		return Hash{}, fault.Hint(fmt.Errorf("the password has %d bytes", len(password)),
			"choose one of at most %d bytes", MaxLen)
	}
	h := Hash{memory: memory, passes: passes, lanes: lanes, salt: random(16), sum: make([]byte, 32)}
	h.sum = h.compute(password)
	return h, nil
}

// String is the form in which hashes are written.
func (h Hash) String() string {
	if h.bcrypt != nil {
		return string(h.bcrypt)
	}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes,
		b64.EncodeToString(h.salt), b64.EncodeToString(h.sum))
}

// Parse reads a hash. The error does not quote it: it may be a password, put where a hash belongs.
func Parse(s string) (Hash, error) {
	const hint = "`bakehouse access add` makes one of $argon2id$v=19$m=19456,t=2,p=1"
	h, err := parse(s)
	if err != nil {
		return Hash{}, fault.Hint(err, hint)
	}
	return h, nil
}

func parse(s string) (h Hash, err error) {
	if m := crypted.FindStringSubmatch(s); m != nil {
		h.cost, _ = strconv.Atoi(m[1])
		if h.cost < bcrypt.MinCost || h.cost > maxCost {
			return h, fmt.Errorf("a bcrypt hash of cost %d: servers compute %d to %d", h.cost, bcrypt.MinCost, maxCost)
		}
		h.bcrypt = []byte(s)
		return h, nil
	}
	if !strings.HasPrefix(s, "$argon2id$") {
		return h, errors.New("neither an argon2id nor a bcrypt hash")
	}
	m := phc.FindStringSubmatch(s)
	if m == nil {
		return h, errors.New("an argon2id hash of another form than $argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH")
	}
	var n [3]uint64
	for i := range n {
		n[i], _ = strconv.ParseUint(m[1+i], 10, 32) // at most nine digits
	}
	switch {
	case n[0] > maxMemory || n[0]*n[1] > maxWork || n[2] > maxLanes:
		return h, fmt.Errorf("an argon2id hash of m=%d,t=%d,p=%d: servers compute at most m=%d, m times t %d, and p=%d",
			n[0], n[1], n[2], maxMemory, maxWork, maxLanes)
	case n[0] < 8*n[2]:
		return h, fmt.Errorf("an argon2id hash of m=%d,p=%d: m is at least eight times p", n[0], n[2])
	}
	h.memory, h.passes, h.lanes = uint32(n[0]), uint32(n[1]), uint8(n[2])
	var err2 error
	h.salt, err = b64.DecodeString(m[4])
	h.sum, err2 = b64.DecodeString(m[5])
	switch {
	case err != nil || err2 != nil:
		return h, errors.New("an argon2id hash whose salt or sum is not unpadded base64")
	case len(h.salt) < minSalt || len(h.salt) > maxPart || len(h.sum) < minSum || len(h.sum) > maxPart:
		return h, fmt.Errorf("an argon2id hash with a salt of %d and a sum of %d bytes: servers compute %d to %d and "+
			"%d to %d", len(h.salt), len(h.sum), minSalt, maxPart, minSum, maxPart)
	}
	return h, nil
}

// compute is the sum of a password.
func (h Hash) compute(password []byte) []byte {
	return argon2.IDKey(password, h.salt, h.passes, h.memory, h.lanes, uint32(len(h.sum)))
}

// Matches reports whether it is that password's hash. A password that is too long does the same work, in vain.
func (h Hash) Matches(password []byte) bool {
	most := MaxLen
	if h.bcrypt != nil {
		most = maxBcrypt
	}
	fits := len(password) <= most
	password = password[:min(len(password), most)]
	switch {
	case h.bcrypt != nil:
		return bcrypt.CompareHashAndPassword(h.bcrypt, password) == nil && fits
	case h.memory == 0:
		return false
	}
	return subtle.ConstantTimeCompare(h.compute(password), h.sum) == 1 && fits
}

// Work is about the time of CPU that Matches takes.
func (h Hash) Work() time.Duration {
	if h.bcrypt != nil {
		return 60 * time.Microsecond << h.cost
	}
	return time.Duration(h.memory) * time.Duration(h.passes) * 660 * time.Nanosecond
}

// Decoy is the hash of a password that nobody has, with the kind and cost of h. To make it costs nothing.
func (h Hash) Decoy() Hash {
	if h.bcrypt == nil {
		h.salt, h.sum = random(len(h.salt)), random(len(h.sum))
		return h
	}
	const head = len("$2a$12$")
	// bcrypt's base64 has digits of its own, of which each random one will do but for unused bits, which are 0.
	const digits = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	made := append([]byte(nil), h.bcrypt...)
	for i, b := range random(len(made) - head) {
		made[head+i] = digits[b%64]
	}
	made[head+21], made[len(made)-1] = '.', '.'
	h.bcrypt = made
	return h
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
