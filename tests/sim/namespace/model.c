#include "tests/sim/namespace/model.h"

void model_init(struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->inode_count = 1;
	m->inodes[0] = (struct model_inode){
		.used = true, .exists = true, .ino = 1, .type = S_IFDIR, .nlink = 2};
}

struct model_entry *model_find(struct model *m, int parent, const char *name)
{
	for (int i = 0; i < MODEL_ENTRIES; i++)
		if (m->entries[i].used && m->entries[i].parent == parent &&
		    strcmp(m->entries[i].name, name) == 0)
			return &m->entries[i];
	return NULL;
}

int model_entry_count(const struct model *m, int parent)
{
	int count = 0;

	for (int i = 0; i < MODEL_ENTRIES; i++)
		count += m->entries[i].used && m->entries[i].parent == parent;
	return count;
}

static bool model_is_open(const struct model_inode *inode)
{
	for (int s = 0; s < MODEL_SESSIONS; s++)
		if (inode->opens[s] > 0)
			return true;
	return false;
}

static void model_settle(struct model_inode *inode)
{
	if (inode->nlink == 0 && !model_is_open(inode))
		inode->exists = false;
}

int model_directory(const struct model *m, int dir)
{
	if (!m->inodes[dir].exists)
		return -ENOENT;
	if (m->inodes[dir].type != S_IFDIR)
		return -ENOTDIR;
	return m->inodes[dir].nlink == 0 ? -ENOENT : 0;
}

static void model_add(struct model *m, int parent, const char *name, int child)
{
	for (int i = 0; i < MODEL_ENTRIES; i++)
		if (!m->entries[i].used) {
			m->entries[i].used = true;
			m->entries[i].parent = parent;
			m->entries[i].child = child;
			snprintf(m->entries[i].name, sizeof(m->entries[i].name), "%s", name);
			return;
		}
}

int model_create(struct model *m, int session, int parent, const char *name, uint32_t type,
		 bool open, bool exclusive, int *slot)
{
	int rc = model_directory(m, parent);
	struct model_entry *there;
	struct model_inode *inode;

	if (rc != 0)
		return rc;
	there = model_find(m, parent, name);
	if (there != NULL) {
		inode = &m->inodes[there->child];
		if (exclusive || type != S_IFREG)
			return -EEXIST;
		if (inode->type != S_IFREG)
			return inode->type == S_IFDIR ? -EISDIR : -ESTALE;
		inode->opens[session] += open;
		*slot = there->child;
		return 0;
	}
	*slot = m->inode_count++;
	inode = &m->inodes[*slot];
	inode->used = inode->exists = true;
	inode->type = type;
	inode->nlink = type == S_IFDIR ? 2 : 1;
	inode->parent = parent;
	inode->opens[session] = open && type == S_IFREG;
	model_add(m, parent, name, *slot);
	if (type == S_IFDIR)
		m->inodes[parent].nlink++;
	return 0;
}

int model_link(struct model *m, int target, int parent, const char *name)
{
	int rc = model_directory(m, parent);

	if (rc != 0)
		return rc;
	if (!m->inodes[target].exists)
		return -ESTALE;
	if (m->inodes[target].type == S_IFDIR)
		return -EPERM;
	if (m->inodes[target].nlink == 0)
		return -ENOENT;
	if (model_find(m, parent, name) != NULL)
		return -EEXIST;
	model_add(m, parent, name, target);
	m->inodes[target].nlink++;
	return 0;
}

/* One name less. */
static void model_drop(struct model *m, struct model_entry *entry)
{
	struct model_inode *inode = &m->inodes[entry->child];

	entry->used = false;
	if (inode->type == S_IFDIR) {
		inode->nlink = 0;
		m->inodes[entry->parent].nlink--;
	} else {
		inode->nlink--;
	}
	model_settle(inode);
}

int model_unlink(struct model *m, int parent, const char *name, bool directory)
{
	int rc = model_directory(m, parent);
	struct model_entry *entry;
	bool is_dir;

	if (rc != 0)
		return rc;
	entry = model_find(m, parent, name);
	if (entry == NULL)
		return -ENOENT;
	is_dir = m->inodes[entry->child].type == S_IFDIR;
	if (!directory && is_dir)
		return -EISDIR;
	if (directory && !is_dir)
		return -ENOTDIR;
	if (directory && model_entry_count(m, entry->child) > 0)
		return -ENOTEMPTY;
	model_drop(m, entry);
	return 0;
}

static bool model_is_above(const struct model *m, int above, int dir)
{
	for (;; dir = m->inodes[dir].parent) {
		if (dir == above)
			return true;
		if (dir == 0)
			return false;
	}
}

static void model_move(struct model *m, struct model_entry *entry, int parent, const char *name)
{
	if (m->inodes[entry->child].type == S_IFDIR) {
		m->inodes[entry->parent].nlink--;
		m->inodes[parent].nlink++;
		m->inodes[entry->child].parent = parent;
	}
	entry->parent = parent;
	snprintf(entry->name, sizeof(entry->name), "%s", name);
}

int model_rename(struct model *m, int from, const char *name, int to, const char *new_name,
		 uint32_t flags)
{
	bool exchange = flags == 2, a_dir, b_dir;
	struct model_entry *a, *b;
	char old_name[MODEL_NAME];
	int rc;

	if (flags > 2)
		return -EINVAL;
	rc = model_directory(m, from);
	if (rc == 0)
		rc = model_directory(m, to);
	if (rc != 0)
		return rc;
	a = model_find(m, from, name);
	b = model_find(m, to, new_name);
	if (a == NULL || (exchange && b == NULL))
		return -ENOENT;
	if (flags == 1 && b != NULL)
		return -EEXIST;
	if (b != NULL && a->child == b->child)
		return 0;
	a_dir = m->inodes[a->child].type == S_IFDIR;
	b_dir = b != NULL && m->inodes[b->child].type == S_IFDIR;
	if (a_dir && model_is_above(m, a->child, to))
		return -EINVAL;
	if (exchange && b_dir && model_is_above(m, b->child, from))
		return -EINVAL;
	if (exchange) {
		memcpy(old_name, a->name, sizeof(old_name));
		model_move(m, a, to, new_name);
		model_move(m, b, from, old_name);
		return 0;
	}
	if (b != NULL) {
		if (a_dir && !b_dir)
			return -ENOTDIR;
		if (!a_dir && b_dir)
			return -EISDIR;
		if (b_dir && model_entry_count(m, b->child) > 0)
			return -ENOTEMPTY;
		model_drop(m, b);
	}
	model_move(m, a, to, new_name);
	return 0;
}

int model_open(struct model *m, int session, int slot, bool truncate)
{
	struct model_inode *inode = &m->inodes[slot];

	if (!inode->exists)
		return -ESTALE;
	if (truncate && inode->type != S_IFREG)
		return inode->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (truncate) {
		inode->size = 0;
		inode->trim = false;
		inode->truncations++;
	}
	inode->opens[session]++;
	return 0;
}

void model_close(struct model *m, int session, int slot, uint32_t count)
{
	struct model_inode *inode = &m->inodes[slot];

	inode->opens[session] -= count < inode->opens[session] ? count : inode->opens[session];
	model_settle(inode);
}

int model_set_size(struct model *m, int session, int slot, uint64_t size)
{
	struct model_inode *inode = &m->inodes[slot];

	if (!inode->exists)
		return -ESTALE;
	if (inode->type != S_IFREG)
		return inode->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (size > inode->size && inode->trim)
		return -EBUSY;
	if (size == 0) {
		inode->trim = false;
	} else if (size < inode->size) {
		inode->trim_from = inode->trim && inode->trim_from < size ? inode->trim_from : size;
		inode->trim = true;
		inode->trim_session = session;
	}
	inode->size = size;
	inode->truncations++;
	return 0;
}

int model_grow(struct model *m, int session, int slot, uint64_t size, uint64_t truncations)
{
	struct model_inode *inode = &m->inodes[slot];

	if (!inode->exists)
		return -ESTALE;
	if (inode->type != S_IFREG)
		return inode->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (truncations != inode->truncations)
		return -ESTALE;
	if (inode->trim && size > inode->trim_from) {
		if (inode->trim_session != session)
			return -EBUSY;
		inode->trim = false;
	}
	if (inode->size < size)
		inode->size = size;
	return 0;
}

int model_trim(struct model *m, int session, int slot, bool take, uint64_t truncations)
{
	struct model_inode *inode = &m->inodes[slot];

	if (!inode->exists)
		return -ESTALE;
	if (inode->type != S_IFREG)
		return inode->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (!inode->trim)
		return 0;
	if (take && inode->trim_session >= 0 && inode->trim_session != session)
		return -EBUSY;
	if (take)
		inode->trim_session = session;
	else if (inode->trim_session == session && truncations == inode->truncations)
		inode->trim = false;
	return 0;
}

void model_session_end(struct model *m, int session)
{
	for (int i = 0; i < m->inode_count; i++) {
		m->inodes[i].opens[session] = 0;
		model_settle(&m->inodes[i]);
		if (m->inodes[i].trim && m->inodes[i].trim_session == session)
			m->inodes[i].trim_session = -1;
	}
}
