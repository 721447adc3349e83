// Package v1 stands in for a package that sigstore/pkg/signature imports for the names of algorithms alone. The real
// one registers messages of protobuf when the program starts, so that all of protobuf's reflection is linked, 1.2 MB of
// the host program, which reads and writes no such message. go.mod replaces it by this one.
//
// The compiler holds what it has to have: a name that sigstore starts to use is missing here, and nothing builds. Their
// numbers are only compared with each other.
package v1

// PublicKeyDetails names a type of key with its signature scheme.
type PublicKeyDetails int32

// Names of types of keys.
const (
	PublicKeyDetails_PUBLIC_KEY_DETAILS_UNSPECIFIED PublicKeyDetails = iota
	PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256
	PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256
	PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256
	PublicKeyDetails_PKIX_RSA_PSS_2048_SHA256
	PublicKeyDetails_PKIX_RSA_PSS_3072_SHA256
	PublicKeyDetails_PKIX_RSA_PSS_4096_SHA256
	PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
	PublicKeyDetails_PKIX_ECDSA_P384_SHA_256
	PublicKeyDetails_PKIX_ECDSA_P384_SHA_384
	PublicKeyDetails_PKIX_ECDSA_P521_SHA_256
	PublicKeyDetails_PKIX_ECDSA_P521_SHA_512
	PublicKeyDetails_PKIX_ED25519
	PublicKeyDetails_PKIX_ED25519_PH
)

// HashAlgorithm names a hash.
type HashAlgorithm int32

// Names of hashes.
const (
	HashAlgorithm_HASH_ALGORITHM_UNSPECIFIED HashAlgorithm = iota
	HashAlgorithm_SHA2_256
	HashAlgorithm_SHA2_384
	HashAlgorithm_SHA2_512
)
