/* internal.h - inside of the state machine: records, caches, transactions.
 *
 * One command is one transaction: what it reads comes from its own changes, then the caches, then
 * the store; what it changes stays in struct txn until txn_commit() has written everything as one
 * batch. Only then are caches and tables told. So a failed write leaves memory as the store is. */
#ifndef CATENA_MASTER_STATE_INTERNAL_H
#define CATENA_MASTER_STATE_INTERNAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <uthash.h>
#include "common/kv/kv.h"
#include "master/state/state.h"

#define DEFAULT_POOL      1u
#define FILE_BYTES_MAX    (UINT64_C(1) << 50) /* bounds the work of removing a sparse file */
#define REPLIES_MAX       65536u /* kept of one session; a client answers long before */
#define READDIR_LIMIT_MAX 4096u
#define READDIR_BYTES_MAX (512u << 10)

/* ---- keys and values (keys.c); docs/store-format.md has the formats ---- */

/* The numbers of state_families[]; part of the format on disk only by the families' names. */
enum family {
	FAMILY_META,     /* "default": tag byte, then by tag */
	FAMILY_INODES,   /* ino be64 -> struct inode */
	FAMILY_DENTRIES, /* parent be64, cookie be64 -> struct dentry */
	FAMILY_XATTRS,   /* ino be64, name -> value; ino be64, 0 -> symlink's target */
	FAMILY_REPLIES,  /* session be64, request id be64 -> reply */
	FAMILY_OPENS,    /* session be64, ino be64 -> count le32 */
	FAMILY_REMOVALS, /* sequence be64 -> pool le32, file id le64, size le64 */
	FAMILY_COUNT
};

enum meta_tag {
	META_SUPER = 'S',    /* format, key of the name hash, instance, cluster id */
	META_COUNTERS = 'K', /* struct counters */
	META_SESSION = 's',  /* id be64 */
	META_ORPHAN = 'o',   /* ino be64: nlink is 0, but open */
	META_POOL = 'p',     /* id be32 */
	META_CHAIN = 'c',    /* pool be32, partition be32 */
	META_SERVER = 'v',   /* id be64 */
	META_TARGET = 't',   /* id be32 */
	META_RECOVERY = 'r', /* struct state_recovery */
	META_APPEND = 'a',   /* ino be64: who may append */
	META_FENCE = 'f',    /* servers to be told first of the last change of chains */
	META_LEASE = 'l',    /* struct tree_lease */
	META_ENDED = 'e',    /* id be64: of a session that was fenced */
	META_OWED = 'w',     /* there: state_fences_owed() */
	META_LIFE = 'L',     /* number be64: struct state_life */
	META_GIVEN_UP = 'g', /* uuid: what the target had seen when the store was accepted */
};

#define META_KEY_MAX     9
#define XATTR_KEY_MAX    (8 + XATTR_NAME_BYTES_MAX)
#define DENTRY_SLOTS     64u /* for names of one directory with one hash */
#define DENTRY_VALUE_MAX (9 + NAME_BYTES_MAX)

struct inode {
	uint64_t ino;
	uint32_t mode, nlink, uid, gid, rdev, pool;
	uint64_t size;
	int64_t atime, mtime, ctime;
	uint64_t file_id, version, allocated, parent;
	uint64_t trim_from, trim_to, trim_session; /* trim_to 0: no trim is pending */
	uint64_t entries;                          /* of a directory */
	uint32_t xattr_bytes;                      /* names and values */
	uint8_t flags;                             /* INODE_* */
	uint64_t truncations;                      /* sizes set; see Attr */
	int64_t truncated_at;
	/* When a request set these times to what it liked; 0: they are of a read, a write or the
	 * creation. What the mounts tell of reads and writes that were before does not count. */
	int64_t atime_set, mtime_set;
};
#define INODE_CROWDED     1u /* directory: some entry is not in the first slot of its hash */
#define INODE_HAS_RECORDS 2u /* has records in FAMILY_XATTRS */
#define INODE_SPARSE      4u /* regular file: it may have holes below its size */
#define INODE_VALUE_BYTES (2 + 6 * 4 + 12 * 8 + 4 + 4 * 8)

/* ino 0: a deleted entry with others behind it in its slots. */
struct dentry {
	uint64_t ino;
	uint8_t type; /* DT_* */
	uint8_t name_size;
	uint8_t name[NAME_BYTES_MAX];
};

struct counters {
	uint64_t index; /* applied */
	uint64_t next_ino, next_file_id, next_session, next_server, next_removal, map_version;
	uint32_t next_target;
	uint64_t inodes, orphans, removals, bytes;
};
#define COUNTERS_VALUE_BYTES (1 + 11 * 8 + 4)

/* Are there @count numbers for inodes and files each? */
static inline bool ids_left(const struct counters *counters, uint64_t count)
{
	return counters->next_ino < STATE_ID_END && STATE_ID_END - counters->next_ino >= count &&
	       counters->next_file_id < STATE_ID_END &&
	       STATE_ID_END - counters->next_file_id >= count;
}

#define NAME_KEY_BYTES 16
/* Part of the format on disk: pinned by a test. */
uint64_t name_hash(const uint8_t key[NAME_KEY_BYTES], const uint8_t *name, size_t size);
/* The first slot of a name; the others follow. */
uint64_t name_cookie(const struct state *state, const uint8_t *name, size_t size);

void key_u64(uint8_t key[8], uint64_t a);
void key_u64_u64(uint8_t key[16], uint64_t a, uint64_t b);
size_t key_meta(uint8_t key[META_KEY_MAX], enum meta_tag tag, uint64_t id);
size_t key_meta32(uint8_t key[META_KEY_MAX], enum meta_tag tag, uint32_t a, uint32_t b);
size_t key_xattr(uint8_t key[XATTR_KEY_MAX], uint64_t ino, const void *name, size_t name_size);

void inode_encode(const struct inode *inode, uint8_t out[INODE_VALUE_BYTES]);
bool inode_decode(uint64_t ino, const uint8_t *data, size_t size, struct inode *inode);
size_t dentry_encode(const struct dentry *dentry, uint8_t out[DENTRY_VALUE_MAX]);
bool dentry_decode(const uint8_t *data, size_t size, struct dentry *dentry);
void counters_encode(const struct counters *counters, uint8_t out[COUNTERS_VALUE_BYTES]);
bool counters_decode(const uint8_t *data, size_t size, struct counters *counters);

/* ---- caches (cache.c): of bounded size, set-associative, the oldest of a set goes ---- */

struct inode_cache;
struct dentry_cache;

struct inode_cache *inode_cache_new(void);
void inode_cache_free(struct inode_cache *cache);
void inode_cache_clear(struct inode_cache *cache);
/* @ino is not 0. Borrowed until the next change of the cache; NULL: not there. */
const struct inode *inode_cache_get(struct inode_cache *cache, uint64_t ino);
void inode_cache_put(struct inode_cache *cache, const struct inode *inode);
void inode_cache_drop(struct inode_cache *cache, uint64_t ino);

struct dentry_cache *dentry_cache_new(void);
void dentry_cache_free(struct dentry_cache *cache);
void dentry_cache_clear(struct dentry_cache *cache);
/* False: not there. Entries with long names are never there. */
bool dentry_cache_get(struct dentry_cache *cache, uint64_t parent, uint64_t cookie,
		      struct dentry *out);
void dentry_cache_put(struct dentry_cache *cache, uint64_t parent, uint64_t cookie,
		      const struct dentry *dentry);
void dentry_cache_drop(struct dentry_cache *cache, uint64_t parent, uint64_t cookie);

/* ---- sessions (session.c) ---- */

struct txn;

struct open_file { /* of one session */
	uint64_t ino;
	uint32_t count;
	UT_hash_handle hh;
};

struct open_total { /* of all sessions */
	uint64_t ino;
	uint64_t count;
	UT_hash_handle hh;
};

struct kept_reply {
	uint64_t id;
	uint8_t *data;
	size_t size;
};

/* Numbers that a session may give to inodes by itself: (first_ino + i, first_file_id + i). */
struct delegation {
	uint64_t first_ino, first_file_id;
	uint32_t count;
};
/* A client asks for the next range while it still has some of the one before. */
#define DELEGATIONS    2u
#define DELEGATION_MAX 65536u

struct session {
	uint64_t id, secret;
	char *mount, *name;
	struct delegation delegations[DELEGATIONS]; /* the newest first */
	uint64_t answered;                          /* replies up to here are forgotten */
	uint64_t pruned;                            /* and up to here also in the store */
	uint64_t pruning;                           /* the same when the transaction is written */
	bool fenced;                                /* it does nothing more */
	/* Replies by ascending id, in a window [reply_first, reply_end) of an array. */
	struct kept_reply *replies;
	size_t reply_first, reply_end, reply_capacity;
	struct open_file *opens;
	uint32_t appends; /* rights to append that it has */
	UT_hash_handle hh;
};

/* Of one inode: who alone may write behind its end. */
struct append_right {
	uint64_t ino;
	struct session *session;
	UT_hash_handle hh;
};

struct session *session_find(struct state *state, uint64_t id);
const struct kept_reply *session_reply(const struct session *session, uint64_t id);
/* Copies @data. -ENOMEM. */
int session_keep_reply(struct session *session, uint64_t id, const void *data, size_t size);
uint32_t session_open_count(const struct session *session, uint64_t ino);
uint64_t state_open_total(const struct state *state, uint64_t ino);
/* Adds to the batch what makes the store forget answered replies too, when it is worth a record;
 * session_pruned() after it was written. */
void session_batch_prune(struct txn *txn, struct session *session);
void session_pruned(struct session *session);
/* The file id that goes with @ino, if it is of a range delegated to @session; 0: it is not. */
uint64_t session_delegated(const struct session *session, uint64_t ino);
/* Adds to the batch the session's record, with @delegation as its newest; session_delegate() after
 * it was written. */
void session_batch_delegate(struct txn *txn, const struct session *session,
			    const struct delegation *delegation);
void session_delegate(struct session *session, const struct delegation *delegation);
/* Makes the tables say that @session has @ino open @count times. -ENOMEM. */
int session_set_open(struct state *state, struct session *session, uint64_t ino, uint32_t count);
int sessions_load(struct state *state);
void sessions_unload(struct state *state);

/* ---- the end of sessions, and the tree lease (lease.c) ---- */

struct tree_lease {
	uint64_t generation; /* of the last one granted */
	uint64_t session;    /* who has it; 0: nobody */
};

/* Fenced sessions, ascending: the open ones, and those not below the floor. */
struct ended_sessions {
	uint64_t *ids;
	size_t count, capacity;
};

/* Of sessions, which are loaded before. */
int leases_load(struct state *state);
void leases_unload(struct state *state);
/* state_fences_owed() from the batch on, when memory follows it. */
void leases_put_owed(struct kv_batch *batch, bool owed);
/* Adds to the batch what follows for both from the end of @session; leases_closed_session() after
 * it was written, when the session is out of the table. */
void leases_batch_close(struct txn *txn, const struct session *session);
void leases_closed_session(struct state *state, uint64_t session);
/* May the session do what its program has the answer of since this generation? */
bool leases_allow(const struct state *state, const struct session *session, uint64_t generation);
/* ---- the right to append (append.c) ---- */

/* Given back, if the transaction's session has it. */
void append_release(struct txn *txn, uint64_t ino);
/* Another session than the transaction's has it. */
bool append_elsewhere(const struct txn *txn, uint64_t ino);
/* What the transaction changes of it: to the batch; and to the memory, when that is written. */
void append_batch(struct txn *txn);
void append_tell_memory(struct txn *txn);
/* The same for the end of a session: all that it has. */
void append_batch_close(struct txn *txn, const struct session *session);
void append_closed(struct state *state, const struct session *session);
int appends_load(struct state *state); /* after the sessions */
void appends_unload(struct state *state);

/* ---- cluster (cluster.c) ---- */

struct state_pool {
	uint32_t id, copies, partitions, chunk_size;
	enum failure_domain failure_domain;
	char name[MAP_NAME_MAX];
	struct map_chain *chains;
};

struct state_target {
	uint32_t id;
	uint64_t server_id;
	uint64_t life; /* the last one whose consequences are in the chains; 0: none was seen */
	bool draining;
	char uuid[37];
};

struct cluster {
	struct state_pool *pools;
	struct map_server *servers;
	struct state_target *targets;
	size_t pool_count, server_count, target_count;
	struct state_recovery recovery;
	uint64_t *fenced;
	size_t fenced_count;
};

struct state_pool *cluster_find_pool(struct cluster *cluster, uint32_t id);
struct state_target *cluster_find_target(struct cluster *cluster, uint32_t id);
void cluster_put_server(struct kv_batch *batch, const struct map_server *server);
void cluster_put_target(struct kv_batch *batch, const struct state_target *target);
void cluster_put_chain(struct kv_batch *batch, uint32_t pool, uint32_t partition,
		       const struct map_chain *chain);
void cluster_put_recovery(struct kv_batch *batch, const struct state_recovery *recovery);
/* -ENOMEM. */
int cluster_put_fence(struct kv_batch *batch, const uint64_t *servers, size_t count);
int cluster_load(struct state *state);
void cluster_unload(struct state *state);
void cluster_put_default_pool(struct kv_batch *batch, const struct state_options *options);

/* ---- the state ---- */

#define TXN_INODES_MAX   8
#define TXN_DENTRIES_MAX 8

struct txn_inode {
	struct inode inode, before;
	bool changed, freed;
};

struct txn_dentry {
	uint64_t parent, cookie;
	bool present; /* else deleted */
	struct dentry dentry;
};

struct txn_open {
	struct session *session;
	uint64_t ino;
	uint32_t count;
};

struct txn_append {
	bool changed, taken; /* by the transaction's session; else it is given back */
	uint64_t ino;
};

struct txn {
	struct state *state;
	struct session *session; /* NULL: a command of the master itself */
	int64_t time;
	int store_error; /* the store failed: the command is neither done nor refused */
	struct counters counters;
	struct kv_batch *batch;
	struct txn_inode inodes[TXN_INODES_MAX];
	unsigned inode_count;
	struct txn_dentry dentries[TXN_DENTRIES_MAX];
	unsigned dentry_count;
	struct txn_open open;
	bool open_changed;
	struct txn_append append;
	struct delegation delegation; /* count 0: none is made */
};

struct state {
	struct kv *kv;
	char cluster_id[64];
	uint64_t instance;        /* 0: none yet */
	struct state_life *lives; /* ascending */
	size_t life_count;
	uint8_t name_key[NAME_KEY_BYTES];
	uint64_t name_mask; /* all ones, but in tests, which want many names with one hash */
	struct counters counters;
	uint64_t stored_index; /* counters.index as the store has it */
	struct inode_cache *inodes;
	struct dentry_cache *dentries;
	struct session *sessions;
	struct open_total *opens;
	struct tree_lease lease;
	struct ended_sessions ended;
	bool fences_owed;
	struct append_right *appends;
	struct cluster cluster;
	struct txn txn;
	bool stale; /* memory may not be what the store is: read anew before anything else */
};

/* ---- lives (lives.c) ---- */

int lives_load(struct state *state);
void lives_unload(struct state *state);
/* Begins one with the transaction's map version; lives_begin_failed() when that is not written.
 * -ENOMEM. */
int lives_begin(struct txn *txn, uint64_t index, uint64_t number, uint64_t chance);
void lives_begin_failed(struct state *state);
/* Deletes all that are stored, and what was given up with former ones; the caller reads the state
 * anew. */
void lives_forget(struct txn *txn);
/* Notes what the target @uuid had seen of the lives that are given up. After lives_forget(). */
void lives_give_up(struct txn *txn, const char *uuid, const struct state_seen *seen);

/* 0, after reading anew when memory is stale. */
int state_ready(struct state *state);

/* ---- transactions (txn.c) ---- */

/* The state's only transaction, empty. */
struct txn *txn_begin(struct state *state, struct session *session, int64_t time);
/* Forgets the changes, as if the command had done nothing. */
void txn_reset(struct txn *txn);
/* Writes the changes and the applied index as one batch; then tells the memory. */
int txn_commit(struct txn *txn, uint64_t index);
/* For failures of the store inside a command: remembers it, returns it. */
int txn_failed(struct txn *txn, int rc);

/* An inode to read and change; it lives as long as the transaction. -ESTALE: there is none.
 * -EIO: damaged. */
int txn_inode(struct txn *txn, uint64_t ino, struct inode **out);
/* To be called before the first change of an inode. */
void txn_touch(struct txn *txn, struct inode *inode);
/* The same, but what changes is nothing that anybody's copies of it depend on: its version stays.
 */
void txn_touch_quietly(struct txn *txn, struct inode *inode);
/* A new inode, with the number @ino or (0) the next; type and fields are the caller's. -EEXIST. */
int txn_inode_new(struct txn *txn, uint64_t ino, struct inode **out);
/* The inode, its xattrs and its data go. */
void txn_inode_free(struct txn *txn, struct inode *inode);
/* The same for an inode that is not of the transaction and whose size counts as @counted so far;
 * the caller drops it from the cache. */
void txn_free_records(struct txn *txn, const struct inode *inode, uint64_t counted);
/* Only to read, and not from the changes of the transaction. */
int txn_read_inode(struct txn *txn, uint64_t ino, struct inode *out);
/* Queues chunks for removal. */
void txn_remove_chunks(struct txn *txn, uint32_t pool, uint64_t file_id, uint64_t size);

/* An entry by name: *cookie is its slot. -ENOENT; then *cookie (if not NULL) is the slot for a new
 * one, or 0 when all slots of the name's hash are taken. */
int txn_dentry_find(struct txn *txn, const struct inode *parent, const uint8_t *name, size_t size,
		    uint64_t *cookie, struct dentry *out);
/* Changes only the entry, not the directory's inode. */
int txn_dentry_put(struct txn *txn, struct inode *parent, uint64_t cookie,
		   const struct dentry *dentry);
int txn_dentry_delete(struct txn *txn, const struct inode *parent, uint64_t cookie);

/* One more open of the transaction's session. -ENFILE. */
int txn_open_more(struct txn *txn, uint64_t ino);
void txn_open_count(struct txn *txn, uint64_t ino, uint32_t count);

/* ---- requests ---- */

/* A reply and room for what it points to. */
struct reply_room {
	Catena__Reply reply;
	Catena__Attr attr, parent_attr, new_parent_attr, moved;
	Catena__Statfs statfs;
	Catena__Delegation delegation;
	void *owned; /* free()d after packing */
};

void reply_attr(Catena__Attr *out, const struct inode *inode, Catena__Attr **place);

static inline bool inode_is(const struct inode *inode, uint32_t type)
{
	return (inode->mode & S_IFMT) == type;
}

/* A directory that takes entries: -ESTALE becomes -ENOENT; -ENOTDIR. */
int txn_directory(struct txn *txn, uint64_t ino, struct inode **out);
/* Entries of @directory changed now. */
void directory_changed(struct txn *txn, struct inode *directory, int64_t entries_delta);
/* nlink has become 0: frees it, or makes it an orphan while it is open. */
void inode_unlinked(struct txn *txn, struct inode *inode);
/* Forgets that it was one. */
void orphan_gone(struct txn *txn, uint64_t ino);
/* The truncation of SET_SIZE and of open. */
int inode_set_size(struct txn *txn, struct inode *inode, uint64_t size);

/* Each: 0 or -errno of the request; when txn->store_error is set, of the store. */
int op_lookup(struct txn *txn, const Catena__LookupReq *req, struct reply_room *room);
int op_getattr(struct txn *txn, const Catena__GetattrReq *req, struct reply_room *room);
int op_setattr(struct txn *txn, const Catena__SetattrReq *req, struct reply_room *room);
int op_create(struct txn *txn, const Catena__CreateReq *req, struct reply_room *room);
int op_link(struct txn *txn, const Catena__LinkReq *req, struct reply_room *room);
int op_unlink(struct txn *txn, const Catena__UnlinkReq *req, struct reply_room *room);
int op_rename(struct txn *txn, const Catena__RenameReq *req, struct reply_room *room);
int op_readlink(struct txn *txn, const Catena__ReadlinkReq *req, struct reply_room *room);
int op_readdir(struct txn *txn, const Catena__ReaddirReq *req, struct reply_room *room);
int op_open(struct txn *txn, const Catena__OpenReq *req, struct reply_room *room);
int op_close(struct txn *txn, const Catena__CloseReq *req, struct reply_room *room);
/* The inode's "security.capability" is removed, if it has one. -errno as all reads of the store. */
int xattr_drop_capabilities(struct txn *txn, struct inode *inode);
int op_xattr(struct txn *txn, const Catena__XattrReq *req, struct reply_room *room);
int op_statfs(struct txn *txn, struct reply_room *room);
int op_append(struct txn *txn, const Catena__AppendReq *req, struct reply_room *room);
int op_delegate(struct txn *txn, const Catena__DelegateReq *req, struct reply_room *room);
#endif
