/* txn.c - what one command reads and changes, and how it becomes one batch. */
#include "master/records/txn.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/base/bytes.h"
#include "master/records/core.h"

struct txn *txn_begin(struct state *state, struct session *session, int64_t time)
{
	struct txn *txn = &state->txn;

	txn->state = state;
	txn->session = session;
	txn->time = time;
	txn->store_error = 0;
	txn->damaged = false;
	txn_reset(txn);
	return txn;
}

void txn_reset(struct txn *txn)
{
	txn->counters = txn->state->counters;
	txn->inode_count = 0;
	txn->dentry_count = 0;
	txn->open_changed = false;
	txn->append.changed = false;
	txn->delegation.count = 0;
	kv_batch_clear(txn->batch);
}

int txn_failed(struct txn *txn, int rc)
{
	if (rc == -EUCLEAN) {
		if (txn->state->report != NULL)
			txn->state->report("damaged record in the store");
		txn->damaged = true;
		return -EIO;
	}
	txn->store_error = rc;
	return rc;
}

/* ---- inodes ---- */

int txn_read_inode(struct txn *txn, uint64_t ino, struct inode_record *out)
{
	struct state *state = txn->state;
	const struct inode_record *cached;
	uint8_t key[8], *value;
	size_t size;
	int rc;

	/* No inode has it; free places in the cache have 0. */
	if (ino == 0 || !id_is_ours(ino))
		return -ESTALE;
	cached = cache_inode_get(state->inodes, ino);
	if (cached != NULL) {
		*out = *cached;
		return 0;
	}
	key_u64(key, ino);
	rc = kv_get(state->kv, FAMILY_INODES, key, sizeof(key), &value, &size);
	if (rc == -ENOENT)
		return -ESTALE;
	if (rc != 0)
		return txn_failed(txn, rc);
	rc = value_decode_inode(ino, value, size, out) ? 0 : -EUCLEAN;
	free(value);
	if (rc != 0)
		return txn_failed(txn, rc);
	cache_inode_put(state->inodes, out);
	return 0;
}

int txn_inode(struct txn *txn, uint64_t ino, struct inode_record **out)
{
	struct txn_inode *slot;
	int rc;

	for (unsigned i = 0; i < txn->inode_count; i++)
		if (txn->inodes[i].inode.ino == ino) {
			*out = &txn->inodes[i].inode;
			return txn->inodes[i].freed ? -ESTALE : 0;
		}
	if (txn->inode_count == TXN_INODES_MAX)
		return -EIO; /* no request names so many */
	slot = &txn->inodes[txn->inode_count];
	rc = txn_read_inode(txn, ino, &slot->inode);
	if (rc != 0)
		return rc;
	slot->changed = slot->freed = false;
	txn->inode_count++;
	*out = &slot->inode;
	return 0;
}

int txn_inode_named(struct txn *txn, uint64_t ino, struct inode_record **out)
{
	int rc = txn_inode(txn, ino, out);

	return rc == -ESTALE ? txn_failed(txn, -EUCLEAN) : rc;
}

/* An inode of the transaction is the first member of its slot. */
static struct txn_inode *slot_of(struct txn *txn, struct inode_record *inode)
{
	struct txn_inode *slot = (struct txn_inode *)inode;

	expects(slot >= txn->inodes && slot < txn->inodes + txn->inode_count);
	expects(!slot->freed);
	return slot;
}

void txn_touch_quietly(struct txn *txn, struct inode_record *inode)
{
	struct txn_inode *slot = slot_of(txn, inode);

	if (slot->changed)
		return;
	slot->changed = true;
	slot->before = *inode;
}

void txn_touch(struct txn *txn, struct inode_record *inode)
{
	txn_touch_quietly(txn, inode);
	if (inode->version == slot_of(txn, inode)->before.version)
		inode->version++;
}

int txn_inode_new(struct txn *txn, uint64_t ino, struct inode_record **out)
{
	struct txn_inode *slot;

	if (txn->inode_count == TXN_INODES_MAX)
		return -EIO;
	if (ino != 0) {
		struct inode_record other;
		int rc = txn_read_inode(txn, ino, &other);

		if (rc != -ESTALE)
			return rc == 0 ? -EEXIST : rc;
	}
	if (ino == 0 && !counters_have_ids(&txn->counters, 1))
		return -ENOSPC;
	slot = &txn->inodes[txn->inode_count++];
	memset(slot, 0, sizeof(*slot));
	slot->changed = true;
	slot->inode.ino = ino != 0 ? ino : txn->counters.next_ino++;
	slot->inode.version = 1;
	txn->counters.inodes++;
	*out = &slot->inode;
	return 0;
}

void txn_remove_chunks(struct txn *txn, uint32_t pool, uint64_t file_id, uint64_t size)
{
	uint8_t key[8], value[META_REMOVAL_BYTES];

	key_u64(key, txn->counters.next_removal++);
	meta_encode_removal(&(struct state_removal){.pool = pool, .file_id = file_id, .size = size},
			    value);
	kv_batch_put(txn->batch, FAMILY_REMOVALS, key, sizeof(key), value, sizeof(value));
	txn->counters.removals++;
}

void txn_free_records(struct txn *txn, const struct inode_record *inode, uint64_t counted)
{
	uint8_t key[16], end[16];

	key_u64(key, inode->ino);
	kv_batch_delete(txn->batch, FAMILY_INODES, key, 8);
	if (inode->flags & INODE_HAS_RECORDS) {
		key_u64(end, inode->ino + 1);
		kv_batch_delete_range(txn->batch, FAMILY_XATTRS, key, 8, end, 8);
	}
	if (inode->flags & INODE_CROWDED) { /* deleted entries may be left */
		key_u64_u64(key, inode->ino, 0);
		key_u64_u64(end, inode->ino + 1, 0);
		kv_batch_delete_range(txn->batch, FAMILY_DENTRIES, key, 16, end, 16);
	}
	if (inode_is(inode, S_IFREG)) {
		if (inode->allocated > 0)
			txn_remove_chunks(txn, inode->pool, inode->file_id, inode->allocated);
		txn->counters.bytes -= counted;
	}
	txn->counters.inodes--;
}

void txn_inode_free(struct txn *txn, struct inode_record *inode)
{
	struct txn_inode *slot = slot_of(txn, inode);

	slot->freed = true;
	txn_free_records(txn, inode, slot->changed ? slot->before.size : inode->size);
}

/* ---- directory entries ---- */

/* Reads one slot. -ENOENT: nothing is there; a deleted entry has ino 0. */
static int dentry_at(struct txn *txn, uint64_t parent, uint64_t cookie, struct dentry *out)
{
	struct state *state = txn->state;
	uint8_t key[16], *value;
	size_t size;
	int rc;

	for (unsigned i = txn->dentry_count; i-- > 0;)
		if (txn->dentries[i].parent == parent && txn->dentries[i].cookie == cookie) {
			*out = txn->dentries[i].dentry;
			return txn->dentries[i].present ? 0 : -ENOENT;
		}
	if (cache_dentry_get(state->dentries, parent, cookie, out))
		return 0;
	key_u64_u64(key, parent, cookie);
	rc = kv_get(state->kv, FAMILY_DENTRIES, key, sizeof(key), &value, &size);
	if (rc == -ENOENT)
		return rc;
	if (rc != 0)
		return txn_failed(txn, rc);
	rc = value_decode_dentry(value, size, out) ? 0 : -EUCLEAN;
	free(value);
	if (rc != 0)
		return txn_failed(txn, rc);
	cache_dentry_put(state->dentries, parent, cookie, out);
	return 0;
}

int txn_dentry_find(struct txn *txn, const struct inode_record *parent, const uint8_t *name,
		    size_t size, uint64_t *cookie, struct dentry *out)
{
	uint64_t first = key_name_cookie(txn->state->name_key, txn->state->name_mask, name, size),
		 slot, vacant = 0;
	int rc = 0;

	for (slot = first; slot < first + DENTRY_SLOTS; slot++) {
		rc = dentry_at(txn, parent->ino, slot, out);
		if (rc != 0)
			break;
		if (out->ino != 0 && out->name_size == size && memcmp(out->name, name, size) == 0) {
			if (cookie != NULL)
				*cookie = slot;
			return 0;
		}
		if (out->ino == 0 && vacant == 0)
			vacant = slot;
	}
	if (rc != 0 && rc != -ENOENT)
		return rc;
	if (vacant == 0 && slot < first + DENTRY_SLOTS)
		vacant = slot;
	if (cookie != NULL)
		*cookie = vacant;
	return -ENOENT;
}

static int dentry_change(struct txn *txn, uint64_t parent, uint64_t cookie, bool present,
			 const struct dentry *dentry)
{
	struct txn_dentry *change;

	expects(cookie >> 62 == 1); /* what no name has is in no directory */
	if (txn->dentry_count == TXN_DENTRIES_MAX)
		return -EIO; /* no request changes so many */
	change = &txn->dentries[txn->dentry_count++];
	change->parent = parent;
	change->cookie = cookie;
	change->present = present;
	if (present)
		change->dentry = *dentry;
	return 0;
}

int txn_dentry_put(struct txn *txn, struct inode_record *parent, uint64_t cookie,
		   const struct dentry *dentry)
{
	expects(dentry->ino != 0 && dentry->name_size != 0);
	if ((cookie & (DENTRY_SLOTS - 1)) != 0) {
		txn_touch(txn, parent);
		parent->flags |= INODE_CROWDED;
	}
	return dentry_change(txn, parent->ino, cookie, true, dentry);
}

int txn_dentry_delete(struct txn *txn, const struct inode_record *parent, uint64_t cookie)
{
	struct dentry next, deleted = {.ino = 0};
	int rc = -ENOENT;

	/* A look-up ends at the first empty slot, so a slot before others must not get empty. */
	if ((parent->flags & INODE_CROWDED) != 0 &&
	    (cookie & (DENTRY_SLOTS - 1)) != DENTRY_SLOTS - 1)
		rc = dentry_at(txn, parent->ino, cookie + 1, &next);
	if (rc != 0 && rc != -ENOENT)
		return rc;
	return dentry_change(txn, parent->ino, cookie, rc == 0, &deleted);
}

/* ---- opens, rights to append ---- */

void txn_open_count(struct txn *txn, uint64_t ino, uint32_t count)
{
	expects(txn->session != NULL);
	txn->open = (struct txn_open){.session = txn->session, .ino = ino, .count = count};
	txn->open_changed = true;
}

int txn_open_more(struct txn *txn, uint64_t ino)
{
	uint32_t count = session_open_count(txn->session, ino);

	if (count == UINT32_MAX || !session_may_open(txn->session, ino))
		return -ENFILE;
	txn_open_count(txn, ino, count + 1);
	return 0;
}

void txn_append_release(struct txn *txn, uint64_t ino)
{
	if (append_holder(txn->state, ino) == txn->session->id)
		txn->append = (struct append_change){.changed = true, .ino = ino};
}

bool txn_append_elsewhere(const struct txn *txn, uint64_t ino)
{
	uint64_t holder = append_holder(txn->state, ino);

	return holder != 0 && holder != txn->session->id;
}

/* ---- commit ---- */

static void batch_inodes(struct txn *txn)
{
	uint8_t key[8], value[INODE_VALUE_BYTES];

	for (unsigned i = 0; i < txn->inode_count; i++) {
		const struct txn_inode *slot = &txn->inodes[i];

		if (!slot->changed || slot->freed)
			continue;
		if (inode_is(&slot->inode, S_IFREG))
			txn->counters.bytes += slot->inode.size - slot->before.size;
		key_u64(key, slot->inode.ino);
		value_encode_inode(&slot->inode, value);
		kv_batch_put(txn->batch, FAMILY_INODES, key, sizeof(key), value, sizeof(value));
	}
}

static void batch_dentries(struct txn *txn)
{
	uint8_t key[16], value[DENTRY_VALUE_MAX];

	for (unsigned i = 0; i < txn->dentry_count; i++) {
		const struct txn_dentry *change = &txn->dentries[i];

		key_u64_u64(key, change->parent, change->cookie);
		if (change->present)
			kv_batch_put(txn->batch, FAMILY_DENTRIES, key, sizeof(key), value,
				     value_encode_dentry(&change->dentry, value));
		else
			kv_batch_delete(txn->batch, FAMILY_DENTRIES, key, sizeof(key));
	}
}

static void batch_open(struct txn *txn)
{
	uint8_t key[16], value[4];

	if (!txn->open_changed)
		return;
	key_u64_u64(key, txn->open.session->id, txn->open.ino);
	put_le32(value, txn->open.count);
	if (txn->open.count > 0)
		kv_batch_put(txn->batch, FAMILY_OPENS, key, sizeof(key), value, sizeof(value));
	else
		kv_batch_delete(txn->batch, FAMILY_OPENS, key, sizeof(key));
}

static void tell_memory(struct txn *txn)
{
	struct state *state = txn->state;

	state->counters = txn->counters;
	for (unsigned i = 0; i < txn->inode_count; i++) {
		const struct txn_inode *slot = &txn->inodes[i];

		if (slot->freed)
			cache_inode_drop(state->inodes, slot->inode.ino);
		else if (slot->changed)
			cache_inode_put(state->inodes, &slot->inode);
	}
	for (unsigned i = 0; i < txn->dentry_count; i++) {
		const struct txn_dentry *change = &txn->dentries[i];

		if (change->present)
			cache_dentry_put(state->dentries, change->parent, change->cookie,
					 &change->dentry);
		else
			cache_dentry_drop(state->dentries, change->parent, change->cookie);
	}
	if (txn->open_changed &&
	    session_set_open(state, txn->open.session, txn->open.ino, txn->open.count) != 0)
		state->stale = true;
	if (append_changed(state, txn->session, &txn->append) != 0)
		state->stale = true;
	if (txn->delegation.count != 0)
		session_delegate(txn->session, &txn->delegation);
}

int txn_commit(struct txn *txn, uint64_t index)
{
	uint8_t key[META_KEY_MAX], value[COUNTERS_VALUE_BYTES];
	int rc;

	expects(txn->store_error == 0);
	expects(index > txn->state->counters.index);
	batch_inodes(txn);
	batch_dentries(txn);
	batch_open(txn);
	append_batch(txn->batch, txn->session, &txn->append);
	if (txn->delegation.count != 0)
		session_batch_delegate(txn->batch, txn->session, &txn->delegation);
	txn->counters.index = index;
	value_encode_counters(&txn->counters, value);
	kv_batch_put(txn->batch, FAMILY_META, key, key_meta(key, META_COUNTERS, 0), value,
		     sizeof(value));
	rc = kv_write(txn->state->kv, txn->batch, false);
	if (rc != 0) {
		/* It may come back with the recovered store, or not. */
		txn->state->stale = true;
		return rc;
	}
	tell_memory(txn);
	return 0;
}
