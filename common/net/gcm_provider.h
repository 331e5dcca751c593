/* gcm_provider.h - AES-128-GCM for OpenSSL by Intel's ipsec-mb, where the CPU has vector AES.
 *
 * OpenSSL 3.0 encrypts one block at a time; CPUs with VAES and VPCLMULQDQ do four at once, three
 * times as fast. TLS stays libssl's: it is given a library context in which another provider of
 * the same cipher comes first (provider-cipher(7)). Nothing changes on the wire. */
#ifndef CATENA_COMMON_NET_GCM_PROVIDER_H
#define CATENA_COMMON_NET_GCM_PROVIDER_H
#include <openssl/types.h>

/* What to make an SSL_CTX with: the library context, or NULL where there is no such provider (other
 * CPUs; built without ipsec-mb), and the properties that prefer it. Lives as long as the process.
 * Any thread. */
OSSL_LIB_CTX *gcm_provider_library(void);
#define GCM_PROPERTIES "?provider=catena-gcm"
#endif
