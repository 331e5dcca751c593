/* rpc_common.c - what client and server share: start, errors, credentials, gRPC's log. */
#define LOG_MODULE "rpc"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/rpc/rpc_internal.h"

#define PEM_BYTES_MAX (1u << 20)

/* The C surface of 1.51 has no function for the lowest TLS version, but the library exports the
 * setter of its credentials (single inheritance: the pointers are the same). Should a later library
 * lose them, linking fails; should they lose their effect, rpc_test.c does. */
void rpc_client_min_tls(grpc_channel_credentials *creds, grpc_tls_version version) __asm__(
	"_ZN20grpc_ssl_credentials19set_min_tls_versionE16grpc_tls_version");
void rpc_server_min_tls(grpc_server_credentials *creds, grpc_tls_version version) __asm__(
	"_ZN27grpc_ssl_server_credentials19set_min_tls_versionE16grpc_tls_version");

/* ---- gRPC's log ---- */

/* A text of gRPC or OpenSSL that people would not understand, and what it means. */
static const struct {
	const char *needle, *meaning;
} refusals[] = {
	{"PEER_DID_NOT_RETURN_A_CERTIFICATE", "the peer showed no certificate"},
	{"peer did not return a certificate", "the peer showed no certificate"},
	{"alert unknown ca", "the peer does not know our CA: certificates of different clusters?"},
	{"alert certificate required", "the peer wants a certificate of us"},
	{"alert certificate expired", "the peer says that our certificate has expired"},
	{"alert bad certificate", "the peer refuses our certificate"},
	{"certificate verify failed",
	 "the peer's certificate is not valid here: another CA, or expired"},
	{"CERTIFICATE_VERIFY_FAILED",
	 "the peer's certificate is not valid here: another CA, or expired"},
	{"unsupported protocol", "the peer does not speak TLS 1.3"},
	{"alert protocol version", "the peer does not speak TLS 1.3"},
	{"wrong version number", "the peer does not speak TLS"},
	{"http request", "the peer does not speak TLS"},
	{"asn1 encoding routines::EVP lib", "the peer's certificate is not of our CA"},
	{"No match found for server name", "the peer's certificate is of another role"},
	{"Peer name", "the peer's certificate is of another role"},
	{"is not in peer certificate", "the peer's certificate is of another role"},
	{"Handshake failed with fatal error",
	 "the peer and we do not agree on TLS or certificates"},
};

/* With TLS 1.3 a client learns of the refusal of its certificate only so. A server that ends does
 * the same, therefore it counts from the second time. */
static const char closed_after_handshake[] = "the peer closes the connection after the handshake: "
					     "it refuses our certificate, its log says why";

/* gRPC does not say which connection a line is about, so there is one memory for the process. */
static struct {
	pthread_mutex_t lock; /* taken last of all */
	const char *meaning;
	uint64_t when_ns;
	unsigned closed; /* times after the handshake, since a connection last succeeded */
	uint64_t closed_ns;
} refusal = {.lock = PTHREAD_MUTEX_INITIALIZER};

const char *rpc_refusal_since(uint64_t since_ns)
{
	const char *meaning = NULL;

	pthread_mutex_lock(&refusal.lock);
	if (refusal.meaning != NULL && refusal.when_ns >= since_ns)
		meaning = refusal.meaning;
	else if (refusal.closed > 1 && refusal.closed_ns >= since_ns)
		meaning = closed_after_handshake;
	pthread_mutex_unlock(&refusal.lock);
	return meaning;
}

void rpc_refusal_forget(void)
{
	pthread_mutex_lock(&refusal.lock);
	refusal.meaning = NULL;
	refusal.closed = 0;
	pthread_mutex_unlock(&refusal.lock);
}

static void remember_refusal(const char *meaning)
{
	pthread_mutex_lock(&refusal.lock);
	if (meaning == closed_after_handshake) {
		refusal.closed++;
		refusal.closed_ns = clock_monotonic_ns();
	} else {
		refusal.meaning = meaning;
		refusal.when_ns = clock_monotonic_ns();
	}
	pthread_mutex_unlock(&refusal.lock);
}

static const char *refusal_meaning(const char *message)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		if (strstr(message, refusals[i].needle) != NULL)
			return refusals[i].meaning;
	if (strstr(message, "connect failed") != NULL &&
	    strstr(message, "Secure read failed") != NULL)
		return closed_after_handshake;
	return NULL;
}

static atomic_int clients_closing;

void rpc_log_closing(bool closing)
{
	atomic_fetch_add(&clients_closing, closing ? 1 : -1);
}

static void on_grpc_log(gpr_log_func_args *args)
{
	static struct log_rate rate;
	const char *meaning = refusal_meaning(args->message);
	bool quiet = atomic_load(&clients_closing) > 0;

	if (meaning != NULL && !quiet) {
		/* The subchannel's line only repeats what the handshake has said. */
		bool repeated = meaning != closed_after_handshake &&
				strstr(args->message, "connect failed") != NULL;

		remember_refusal(meaning);
		if (!repeated && log_rate_ok(&rate, 5))
			log_warn("TLS connection failed why=\"%s\" detail=\"%.200s\"", meaning,
				 meaning == closed_after_handshake ? "" : args->message);
	} else if (args->severity == GPR_LOG_SEVERITY_ERROR && !quiet) {
		if (log_rate_ok(&rate, 5))
			log_warn("grpc says detail=\"%s\" line=%d", args->message, args->line);
	} else {
		log_debug("grpc says detail=\"%s\" line=%d", args->message, args->line);
	}
}

/* The distribution builds Abseil with its deadlock detector on: a graph walk with every lock taken
 * inside gRPC, a tenth of the cost of a message. It is no part of anything we link against, so it
 * is looked up, and done without when it is not there. */
static void stop_deadlock_detector(void)
{
	void *symbol = dlsym(RTLD_DEFAULT, "_ZN4absl7debian329SetMutexDeadlockDetectionMode"
					   "ENS0_15OnDeadlockCycleE");
	void (*set_mode)(int mode);

	if (symbol == NULL)
		return;
	memcpy(&set_mode, &symbol, sizeof(set_mode));
	set_mode(0);
}

void rpc_init(void)
{
	/* Without this a proxy variable of the environment would lead our connections elsewhere,
	 * and gRPC's fork handlers would run in processes that we never fork. */
	setenv("GRPC_ENABLE_FORK_SUPPORT", "0", 1);
	gpr_set_log_function(on_grpc_log);
	gpr_set_log_verbosity(GPR_LOG_SEVERITY_INFO);
	stop_deadlock_detector();
	grpc_init();
}

void rpc_shutdown(void)
{
	grpc_shutdown_blocking();
}

/* ---- errors ---- */

/* The status code is for foreign clients; ours read the errno from the text. */
grpc_status_code rpc_status_of(int error)
{
	switch (-error) {
	case 0:
		return GRPC_STATUS_OK;
	case ECANCELED:
		return GRPC_STATUS_CANCELLED;
	case EINVAL:
	case EBADMSG:
		return GRPC_STATUS_INVALID_ARGUMENT;
	case ETIMEDOUT:
		return GRPC_STATUS_DEADLINE_EXCEEDED;
	case ENOENT:
		return GRPC_STATUS_NOT_FOUND;
	case EACCES:
	case EPERM:
		return GRPC_STATUS_PERMISSION_DENIED;
	case ENOSPC:
	case ENOBUFS:
	case ENOMEM:
		return GRPC_STATUS_RESOURCE_EXHAUSTED;
	case ENOSYS:
	case EOPNOTSUPP:
		return GRPC_STATUS_UNIMPLEMENTED;
	case EHOSTUNREACH:
		return GRPC_STATUS_UNAVAILABLE;
	default:
		return GRPC_STATUS_UNKNOWN;
	}
}

grpc_slice rpc_status_text(int error)
{
	char text[96];

	snprintf(text, sizeof(text), "errno %d: %s", -error, strerror(-error));
	return grpc_slice_from_copied_string(text);
}

static int errno_in_text(grpc_slice details)
{
	static const char word[] = "errno ";
	char text[32], *end;
	size_t size = GRPC_SLICE_LENGTH(details);
	long error;

	if (size >= sizeof(text))
		size = sizeof(text) - 1;
	memcpy(text, GRPC_SLICE_START_PTR(details), size);
	text[size] = '\0';
	if (strncmp(text, word, sizeof(word) - 1) != 0)
		return 0;
	error = strtol(text + sizeof(word) - 1, &end, 10);
	return *end == ':' && error > 0 && error <= 4095 ? (int)error : 0;
}

const char *rpc_strerror(int error)
{
	switch (error) {
	case 0:
		return "the other side has ended it";
	case -EHOSTUNREACH:
		return "nobody answers there";
	default:
		return strerror(-error);
	}
}

int rpc_status_errno(grpc_status_code status, grpc_slice details)
{
	int error;

	if (status == GRPC_STATUS_OK)
		return 0;
	error = errno_in_text(details);
	if (error != 0)
		return -error;
	switch (status) {
	case GRPC_STATUS_CANCELLED:
		return -ECANCELED;
	case GRPC_STATUS_INVALID_ARGUMENT:
		return -EINVAL;
	case GRPC_STATUS_DEADLINE_EXCEEDED:
		return -ETIMEDOUT;
	case GRPC_STATUS_NOT_FOUND:
		return -ENOENT;
	case GRPC_STATUS_PERMISSION_DENIED:
	case GRPC_STATUS_UNAUTHENTICATED:
		return -EACCES;
	case GRPC_STATUS_RESOURCE_EXHAUSTED:
		return -EMSGSIZE;
	case GRPC_STATUS_UNIMPLEMENTED:
		return -ENOSYS;
	case GRPC_STATUS_UNAVAILABLE:
		return -EHOSTUNREACH;
	default:
		return -EPROTO;
	}
}

/* ---- files and credentials ---- */

/* Reads a whole file, NUL-terminated, malloc()ed. @error gets one line. */
static int read_file(const char *path, char **out, char *error, size_t error_size)
{
	struct stat st;
	char *data = NULL;
	size_t got = 0;
	int rc = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0) {
		rc = -errno;
		goto done;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > PEM_BYTES_MAX) {
		rc = -EINVAL;
		goto done;
	}
	data = malloc((size_t)st.st_size + 1);
	if (data == NULL) {
		rc = -ENOMEM;
		goto done;
	}
	while (got < (size_t)st.st_size) {
		ssize_t n = read(fd, data + got, (size_t)st.st_size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rc = n < 0 ? -errno : -EIO;
			goto done;
		}
		got += (size_t)n;
	}
	data[got] = '\0';
	*out = data;
	data = NULL;
done:
	if (rc != 0)
		snprintf(error, error_size, "%s: %s", path, strerror(-rc));
	free(data);
	if (fd >= 0)
		close(fd);
	return rc;
}

int rpc_pem_load(const struct tls_files *files, struct rpc_pem *out, char *error, size_t error_size)
{
	struct rpc_pem pem = {0};
	int rc;

	rc = read_file(files->ca, &pem.ca, error, error_size);
	if (rc == 0)
		rc = read_file(files->cert, &pem.cert, error, error_size);
	if (rc == 0)
		rc = read_file(files->key, &pem.key, error, error_size);
	if (rc != 0) {
		rpc_pem_free(&pem);
		return rc;
	}
	*out = pem;
	return 0;
}

void rpc_pem_free(struct rpc_pem *pem)
{
	free(pem->ca);
	free(pem->cert);
	if (pem->key != NULL)
		explicit_bzero(pem->key, strlen(pem->key));
	free(pem->key);
	memset(pem, 0, sizeof(*pem));
}

grpc_channel_credentials *rpc_client_credentials(const struct rpc_pem *pem)
{
	grpc_ssl_pem_key_cert_pair pair = {.private_key = pem->key, .cert_chain = pem->cert};
	grpc_channel_credentials *creds =
		grpc_ssl_credentials_create_ex(pem->ca, &pair, NULL, NULL);

	if (creds != NULL)
		rpc_client_min_tls(creds, TLS1_3);
	return creds;
}

grpc_server_credentials *rpc_server_credentials(const struct rpc_pem *pem)
{
	grpc_ssl_pem_key_cert_pair pair = {.private_key = pem->key, .cert_chain = pem->cert};
	grpc_server_credentials *creds = grpc_ssl_server_credentials_create_ex(
		pem->ca, &pair, 1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
		NULL);

	if (creds != NULL)
		rpc_server_min_tls(creds, TLS1_3);
	return creds;
}

int rpc_peer_identity(grpc_call *call, struct tls_identity *out)
{
	grpc_auth_context *context = grpc_call_auth_context(call);
	grpc_auth_property_iterator properties;
	const grpc_auth_property *pem;
	int rc = -EACCES;

	if (context == NULL)
		return -EACCES;
	properties = grpc_auth_context_find_properties_by_name(context,
							       GRPC_X509_PEM_CERT_PROPERTY_NAME);
	pem = grpc_auth_property_iterator_next(&properties);
	if (pem != NULL && tls_identity_of_pem(pem->value, pem->value_length, out) == 0)
		rc = 0;
	grpc_auth_context_release(context);
	return rc;
}

/* ---- small things ---- */

grpc_arg rpc_arg_int(const char *key, int value)
{
	return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

grpc_arg rpc_arg_string(const char *key, const char *value)
{
	return (grpc_arg){
		.type = GRPC_ARG_STRING, .key = (char *)key, .value.string = (char *)value};
}

bool rpc_message_bytes(grpc_byte_buffer *buffer, grpc_slice *slice)
{
	grpc_byte_buffer_reader reader;

	if (buffer == NULL || !grpc_byte_buffer_reader_init(&reader, buffer))
		return false;
	if (buffer->type == GRPC_BB_RAW && buffer->data.raw.slice_buffer.count == 1)
		*slice = grpc_slice_ref(buffer->data.raw.slice_buffer.slices[0]);
	else
		*slice = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	return true;
}

grpc_byte_buffer *rpc_message_copy(const void *data, size_t size)
{
	grpc_slice slice = grpc_slice_from_copied_buffer(data, size);
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);

	grpc_slice_unref(slice);
	return buffer;
}
