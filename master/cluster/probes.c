/* probes.c - connections that are begun only to see them refused; see probes.h. */
#define LOG_MODULE "probe"
#include "master/cluster/probes.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "master/chains/manager.h"
#include "master/cluster/publisher.h"

#define PROBES_MAX 64
#define TIMEOUT_NS NS_PER_SEC
#define SOON_MS    10
#define QUICK_NS   (300 * NS_PER_MSEC)
#define IDLE_MS    500

/* A name that is being looked up, by a thread of the C library's: it may take many seconds, and
 * decisions must not wait for it. */
struct probe_lookup {
	struct gaicb request;
	struct addrinfo hints;
	char host[MAP_NAME_MAX], port[MAP_NAME_MAX];
};

struct probe {
	struct probe_lookup *lookup; /* NULL: over */
	int fd; /* -1: not connecting; then, and without a lookup, it is free */
	uint64_t server, asked_ns, until_ns;
};

struct probes {
	struct master *master;
	pthread_t thread;
	int wake; /* eventfd */
	atomic_bool stop;
	struct probe list[PROBES_MAX];
};

static void refused(struct probes *probes, const struct probe *probe)
{
	struct master *master = probes->master;

	master_lock(master);
	chain_manager_refused(master->chain_manager, probe->server, probe->asked_ns);
	publisher_act(master, clock_boottime_ns());
	master_unlock(master);
}

/* Closes without lingering: a process that listens there has nothing of it. */
static void end(struct probe *probe)
{
	close(probe->fd);
	probe->fd = -1;
}

static bool is_free(const struct probe *probe)
{
	return probe->fd < 0 && probe->lookup == NULL;
}

/* Connects to the first address only, as chunkservers and mounts do. */
static void begin_connecting(struct probes *probes, struct probe *probe,
			     const struct addrinfo *info)
{
	bool gone = false;

	probe->fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	probe->until_ns = clock_boottime_ns() + TIMEOUT_NS;
	errno = 0;
	if (probe->fd >= 0 &&
	    (connect(probe->fd, info->ai_addr, info->ai_addrlen) == 0 || errno != EINPROGRESS)) {
		gone = errno == ECONNREFUSED;
		end(probe);
	}
	if (gone)
		refused(probes, probe);
}

/* False: not an address. */
static bool split(const char *address, struct probe_lookup *out)
{
	const char *colon = strrchr(address, ':');
	size_t size;

	if (colon == NULL)
		return false;
	size = (size_t)(colon - address);
	if (size >= 2 && address[0] == '[' && address[size - 1] == ']') {
		address++;
		size -= 2;
	}
	snprintf(out->host, sizeof(out->host), "%.*s", (int)size, address);
	snprintf(out->port, sizeof(out->port), "%s", colon + 1);
	return true;
}

static void begin(struct probes *probes, struct probe *probe, uint64_t server, uint64_t asked_ns,
		  const char *address)
{
	struct probe_lookup *lookup = calloc(1, sizeof(*lookup));
	struct addrinfo *info = NULL;

	if (lookup == NULL || !split(address, lookup)) {
		free(lookup);
		return;
	}
	expects(is_free(probe));
	probe->server = server;
	probe->asked_ns = asked_ns;
	lookup->hints.ai_socktype = SOCK_STREAM;
	lookup->hints.ai_flags = AI_NUMERICHOST;
	if (getaddrinfo(lookup->host, lookup->port, &lookup->hints, &info) == 0) {
		begin_connecting(probes, probe, info);
		freeaddrinfo(info);
		free(lookup);
		return;
	}
	lookup->hints.ai_flags = 0;
	lookup->request.ar_name = lookup->host;
	lookup->request.ar_service = lookup->port;
	lookup->request.ar_request = &lookup->hints;
	if (getaddrinfo_a(GAI_NOWAIT, (struct gaicb *[]){&lookup->request}, 1, NULL) == 0)
		probe->lookup = lookup;
	else
		free(lookup);
}

static void finish_lookup(struct probes *probes, struct probe *probe)
{
	struct probe_lookup *lookup = probe->lookup;
	int error = gai_error(&lookup->request);

	if (error == EAI_INPROGRESS)
		return;
	probe->lookup = NULL;
	if (error == 0)
		begin_connecting(probes, probe, lookup->request.ar_result);
	if (lookup->request.ar_result != NULL)
		freeaddrinfo(lookup->request.ar_result);
	free(lookup);
}

/* What the C library is doing cannot be ended: it keeps its memory. */
static void give_up_lookup(struct probe_lookup *lookup)
{
	if (gai_cancel(&lookup->request) == EAI_NOTCANCELED)
		return;
	if (lookup->request.ar_result != NULL)
		freeaddrinfo(lookup->request.ar_result);
	free(lookup);
}

/* Finds a free probe. NULL: all are busy, or one is looking up this server. */
static struct probe *free_probe(struct probes *probes, uint64_t server)
{
	struct probe *found = NULL;

	for (int i = 0; i < PROBES_MAX; i++) {
		if (is_free(&probes->list[i]))
			found = &probes->list[i];
		else if (probes->list[i].lookup != NULL && probes->list[i].server == server)
			return NULL;
	}
	return found;
}

/* Asks each server that is to be asked now. True: there was one. */
static bool begin_all(struct probes *probes)
{
	struct master *master = probes->master;
	struct probe *probe;
	bool some = false;

	/* Each of them is named once, and not again for some time. */
	for (;;) {
		char address[MAP_NAME_MAX] = "";
		const struct map_server *in_map;
		uint64_t server, now_ns;
		bool any;

		master_lock(master);
		now_ns = clock_boottime_ns();
		any = !master->stopping &&
		      chain_manager_probe(master->chain_manager, now_ns, &server);
		in_map = any ? cluster_map_server(master->published.map, server) : NULL;
		if (in_map != NULL)
			memcpy(address, in_map->address, sizeof(address));
		master_unlock(master);
		if (!any)
			break;
		some = true;
		probe = free_probe(probes, server);
		if (address[0] != '\0' && probe != NULL)
			begin(probes, probe, server, now_ns, address);
	}
	return some;
}

static void finish(struct probes *probes, struct probe *probe, bool ready)
{
	socklen_t size = sizeof(int);
	int error = 0;

	if (!ready && clock_boottime_ns() < probe->until_ns)
		return;
	if (ready && getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
		error = errno;
	end(probe);
	if (ready && error == ECONNREFUSED)
		refused(probes, probe);
}

/* Looks after decisions that are due within milliseconds. True: more are to come. */
static bool look(struct probes *probes)
{
	struct master *master = probes->master;
	uint64_t now_ns = clock_boottime_ns();
	bool soon = false;

	master_lock(master);
	if (!master->stopping) {
		soon = publisher_soon(master, now_ns);
		if (soon)
			publisher_act(master, now_ns);
	}
	master_unlock(master);
	return soon;
}

static void *probes_main(void *arg)
{
	struct probes *probes = arg;
	uint64_t quick_until_ns = 0;
	bool soon = true;

	while (!atomic_load(&probes->stop)) {
		struct pollfd fds[PROBES_MAX + 1];
		struct probe *of[PROBES_MAX + 1];
		nfds_t count = 1;
		bool looking_up = false;
		uint64_t kicks;

		fds[0] = (struct pollfd){.fd = probes->wake, .events = POLLIN};
		for (int i = 0; i < PROBES_MAX; i++) {
			looking_up |= probes->list[i].lookup != NULL;
			if (probes->list[i].fd < 0)
				continue;
			of[count] = &probes->list[i];
			fds[count++] = (struct pollfd){.fd = probes->list[i].fd, .events = POLLOUT};
		}
		if (poll(fds, count, soon || looking_up ? SOON_MS : IDLE_MS) < 0)
			continue;
		if (fds[0].revents != 0 && read(probes->wake, &kicks, sizeof(kicks)) < 0)
			log_debug("the probing thread was not called");
		for (nfds_t i = 1; i < count; i++)
			finish(probes, of[i], fds[i].revents != 0);
		for (int i = 0; i < PROBES_MAX; i++)
			if (probes->list[i].lookup != NULL)
				finish_lookup(probes, &probes->list[i]);
		/* A server that was asked is asked again, and soon. */
		if (begin_all(probes))
			quick_until_ns = clock_boottime_ns() + QUICK_NS;
		soon = look(probes);
		soon |= clock_boottime_ns() < quick_until_ns;
	}
	return NULL;
}

int probes_start(struct master *master, struct probes **out)
{
	struct probes *probes = calloc(1, sizeof(*probes));
	int rc;

	if (probes == NULL)
		return -ENOMEM;
	probes->master = master;
	for (int i = 0; i < PROBES_MAX; i++)
		probes->list[i].fd = -1;
	probes->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = probes->wake < 0 ? -errno : 0;
	if (rc == 0) {
		rc = -pthread_create(&probes->thread, NULL, probes_main, probes);
		if (rc != 0)
			close(probes->wake);
	}
	if (rc != 0) {
		free(probes);
		return rc;
	}
	*out = probes;
	return 0;
}

void probes_kick(struct probes *probes)
{
	uint64_t one = 1;

	if (probes != NULL && write(probes->wake, &one, sizeof(one)) < 0)
		log_debug("the probing thread has enough to do");
}

void probes_stop(struct probes *probes)
{
	if (probes == NULL)
		return;
	atomic_store(&probes->stop, true);
	probes_kick(probes);
	pthread_join(probes->thread, NULL);
	for (int i = 0; i < PROBES_MAX; i++) {
		if (probes->list[i].fd >= 0)
			end(&probes->list[i]);
		if (probes->list[i].lookup != NULL)
			give_up_lookup(probes->list[i].lookup);
	}
	close(probes->wake);
	free(probes);
}
