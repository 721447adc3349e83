package limit

import "time"

// Failures counts failed attempts per address and name, as Gate does, of what is cheap to compare. What is right always
// passes: only failures are told to wait. Make it with NewFailures.
type Failures struct{ buckets *buckets[login] }

// NewFailures makes one that counts nothing yet.
func NewFailures() *Failures { return &Failures{newBuckets[login](failureRate)} }

// Note counts a failure, and says how long to wait if there were too many.
func (f *Failures) Note(address, name string, now time.Time) (wait time.Duration) {
	return f.buckets.take(login{address, name}, now)
}
