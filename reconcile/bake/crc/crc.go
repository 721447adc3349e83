// Package crc puts checksums of stretches together to that of the whole, without its bytes.
package crc

import "hash/crc32"

// Combine returns the CRC-32 of a followed by b, from the CRC-32 of each and the length of b in bytes, in time
// logarithmic in n. Appending n bytes to a multiplies its remainder by x^(8n) modulo the polynomial (zlib's
// crc32_combine, in Mark Adler's formulation of 2018).
func Combine(a, b uint32, n int64) uint32 {
	shift := uint32(1) << 31  // x^0; bit 31 is the lowest power
	square := uint32(1) << 23 // x^8
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			shift = multiply(square, shift)
		}
		square = multiply(square, square)
	}
	return multiply(shift, a) ^ b
}

// multiply multiplies two polynomials over GF(2) modulo the CRC-32 polynomial, bits reflected.
func multiply(a, b uint32) uint32 {
	var p uint32
	for m := uint32(1) << 31; m != 0; m >>= 1 {
		if a&m != 0 {
			p ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ crc32.IEEE
		} else {
			b >>= 1
		}
	}
	return p
}
