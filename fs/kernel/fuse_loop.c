/* fuse_loop.c - see fuse_loop.h. */
#define LOG_MODULE "fuse"
#include "fs/kernel/fuse_loop.h"
#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "common/base/expects.h"
#include "common/base/duration.h"
#include "common/os/log.h"
#include "common/os/pages.h"
#include "fs/kernel/request_privileges.h"

#define PAGE        4096u
#define WAKE_SIGNAL SIGUSR1
/* A write of 1 MiB behind its headers; the payload then begins at a page. */
#define HEADERS      (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define RECEIVE_MAX  (FRAME_PAYLOAD_MAX + PAGE)
#define BUFFER_BYTES (PAGE + RECEIVE_MAX + PAGE)

struct receive_buffer {
	struct receive_buffer *next;
	struct fuse_loop *loop;
};

struct fuse_loop {
	struct fuse_session *session;
	pthread_t *threads;
	unsigned thread_count, started, stolen_max;
	int ended_fd;
	pthread_mutex_t lock;
	struct receive_buffer *idle;
	unsigned stolen;
};

struct loop_thread {
	struct fuse_loop *loop;
	struct receive_buffer *buffer;
};

static _Thread_local struct loop_thread *this_thread;
/* Of INIT: what the kernel offers, and what it shall be told beside what libfuse tells it. */
static _Atomic uint32_t offered_flags, wanted_flags;

/* ---- buffers ---- */

static void *receive_memory(struct receive_buffer *buffer)
{
	return (char *)buffer + PAGE - HEADERS;
}

static struct receive_buffer *take_buffer(struct fuse_loop *loop)
{
	struct receive_buffer *buffer;

	pthread_mutex_lock(&loop->lock);
	buffer = loop->idle;
	if (buffer != NULL)
		loop->idle = buffer->next;
	pthread_mutex_unlock(&loop->lock);
	if (buffer != NULL)
		return buffer;
	buffer = pages_get(BUFFER_BYTES);
	if (buffer != NULL)
		buffer->loop = loop;
	return buffer;
}

static void give_back(struct receive_buffer *buffer, bool stolen)
{
	struct fuse_loop *loop = buffer->loop;

	pthread_mutex_lock(&loop->lock);
	buffer->next = loop->idle;
	loop->idle = buffer;
	expects(!stolen || loop->stolen > 0);
	if (stolen)
		loop->stolen--;
	pthread_mutex_unlock(&loop->lock);
}

static void unwrap(void *arg)
{
	give_back(arg, true);
}

static bool may_steal(struct fuse_loop *loop)
{
	bool yes;

	pthread_mutex_lock(&loop->lock);
	yes = loop->stolen < loop->stolen_max;
	if (yes)
		loop->stolen++;
	pthread_mutex_unlock(&loop->lock);
	return yes;
}

struct buf *fuse_loop_steal(struct buf_pool *pool, const char *data, size_t size)
{
	struct loop_thread *thread = this_thread;
	struct receive_buffer *buffer;
	struct buf *buf;
	char *memory;

	if (size < FUSE_LOOP_STEAL_MIN || thread == NULL || thread->buffer == NULL)
		return NULL;
	buffer = thread->buffer;
	memory = receive_memory(buffer);
	if (data < memory || data + size > memory + RECEIVE_MAX || !may_steal(thread->loop))
		return NULL;
	buf = buf_wrap(pool, (void *)(uintptr_t)data, (uint32_t)size, unwrap, buffer);
	if (buf == NULL) {
		pthread_mutex_lock(&thread->loop->lock);
		thread->loop->stolen--;
		pthread_mutex_unlock(&thread->loop->lock);
		return NULL;
	}
	buf->length = (uint32_t)size;
	thread->buffer = NULL;
	return buf;
}

/* ---- between libfuse and the kernel ---- */

static ssize_t read_request(int fd, void *buffer, size_t size, void *userdata)
{
	return read(fd, buffer, size < RECEIVE_MAX ? size : RECEIVE_MAX);
}

static void look_at_request(const void *request, size_t size)
{
	const struct fuse_in_header *in = request;
	const struct fuse_init_in *init = (const void *)(in + 1);

	/* Older kernels send no more of it than this. */
	if (size >= sizeof(*in) + offsetof(struct fuse_init_in, flags) + sizeof(init->flags) &&
	    in->opcode == FUSE_INIT)
		atomic_store(&offered_flags, init->flags);
	request_privileges_note(request, size);
}

static void patch_init(struct iovec *iov, int count)
{
	struct fuse_init_out *out = iov[1].iov_base;

	if (count >= 2 && iov[1].iov_len == sizeof(*out) && out->major == FUSE_KERNEL_VERSION)
		out->flags |= atomic_load(&wanted_flags) & atomic_load(&offered_flags);
}

static ssize_t write_reply(int fd, struct iovec *iov, int count, void *userdata)
{
	static atomic_bool init_seen;

	if (!atomic_load_explicit(&init_seen, memory_order_relaxed) && count >= 2 &&
	    !atomic_exchange(&init_seen, true))
		patch_init(iov, count);
	return writev(fd, iov, count);
}

void fuse_loop_want(uint32_t flags)
{
	atomic_store(&wanted_flags, flags);
}

int fuse_loop_attach(struct fuse_loop *loop)
{
	static const struct fuse_custom_io io = {.read = read_request, .writev = write_reply};

	return fuse_session_custom_io(loop->session, &io, fuse_session_fd(loop->session));
}

/* ---- threads ---- */

static void serve(struct loop_thread *thread)
{
	struct fuse_session *session = thread->loop->session;
	int rc;

	while (!fuse_session_exited(session)) {
		struct fuse_buf buf = {0};

		if (thread->buffer == NULL)
			thread->buffer = take_buffer(thread->loop);
		if (thread->buffer == NULL) {
			usleep(10000); /* no memory: the kernel's requests wait */
			continue;
		}
		buf.mem = receive_memory(thread->buffer);
		rc = fuse_session_receive_buf(session, &buf);
		if (rc == -EINTR || rc == -EAGAIN)
			continue;
		if (rc < 0)
			log_error("reading requests failed error=\"%s\"", strerror(-rc));
		if (rc <= 0)
			return;
		look_at_request(buf.mem, (size_t)rc);
		fuse_session_process_buf(session, &buf);
	}
}

static void *run(void *user)
{
	struct loop_thread thread = {.loop = user};
	uint64_t one = 1;

	this_thread = &thread;
	serve(&thread);
	this_thread = NULL;
	if (thread.buffer != NULL)
		give_back(thread.buffer, false);
	/* One that ends takes the others along: they would find out at their next request only. */
	fuse_session_exit(thread.loop->session);
	if (write(thread.loop->ended_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		log_error("telling the end failed");
	return NULL;
}

int fuse_loop_create(struct fuse_session *session, unsigned threads, unsigned stolen_max,
		     struct fuse_loop **out)
{
	struct fuse_loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		return -ENOMEM;
	loop->session = session;
	loop->thread_count = threads;
	loop->stolen_max = stolen_max;
	loop->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->threads = calloc(threads, sizeof(*loop->threads));
	pthread_mutex_init(&loop->lock, NULL);
	if (loop->ended_fd < 0 || loop->threads == NULL) {
		fuse_loop_destroy(loop);
		return -ENOMEM;
	}
	*out = loop;
	return 0;
}

static void on_wake(int signal)
{
}

int fuse_loop_start(struct fuse_loop *loop)
{
	struct sigaction action = {.sa_handler = on_wake}; /* no SA_RESTART: read() returns */

	sigaction(WAKE_SIGNAL, &action, NULL);
	while (loop->started < loop->thread_count) {
		int rc = -pthread_create(&loop->threads[loop->started], NULL, run, loop);

		if (rc != 0)
			return loop->started > 0 ? 0 : rc; /* fewer are enough */
		loop->started++;
	}
	return 0;
}

int fuse_loop_ended_fd(const struct fuse_loop *loop)
{
	return loop->ended_fd;
}

/* A thread may be about to read when the signal comes, so it is sent until the thread has gone. */
void fuse_loop_stop(struct fuse_loop *loop)
{
	fuse_session_exit(loop->session);
	for (unsigned i = 0; i < loop->started; i++) {
		struct timespec at;

		do {
			pthread_kill(loop->threads[i], WAKE_SIGNAL);
			clock_gettime(CLOCK_REALTIME, &at);
			at.tv_nsec += 20 * (long)NS_PER_MSEC;
			if (at.tv_nsec >= (long)NS_PER_SEC) {
				at.tv_sec++;
				at.tv_nsec -= (long)NS_PER_SEC;
			}
		} while (pthread_timedjoin_np(loop->threads[i], NULL, &at) == ETIMEDOUT);
	}
	loop->started = 0;
}

void fuse_loop_destroy(struct fuse_loop *loop)
{
	if (loop == NULL)
		return;
	while (loop->idle != NULL) {
		struct receive_buffer *next = loop->idle->next;

		pages_put(loop->idle, BUFFER_BYTES);
		loop->idle = next;
	}
	if (loop->ended_fd >= 0)
		close(loop->ended_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop->threads);
	free(loop);
}
