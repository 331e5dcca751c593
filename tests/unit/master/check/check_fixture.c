/* check_fixture.c - see check_fixture.h. */
#include "tests/unit/master/check/check_fixture.h"

struct check_tree tree;
struct check_found found;
struct sorter_supply *check_sorters;

#define MIB (UINT64_C(1) << 20)

static uint64_t made(int rc)
{
	assert_int_equal(rc, 0);
	return reply_ino(&tree.f);
}

static void make_tree(struct fixture *f)
{
	tree.a = made(do_mkdir(f, ROOT_INO, "a"));
	tree.b = made(do_mkdir(f, tree.a, "b"));
	tree.deep = made(do_create(f, tree.b, "deep"));
	tree.file = made(do_create(f, tree.a, "file"));
	assert_int_equal(do_size(f, tree.file, CATENA__SET_MASK__SET_SIZE, 3 * MIB, 0), 0);
	assert_int_equal(do_link(f, tree.file, ROOT_INO, "link"), 0);
	assert_int_equal(do_xattr(f, tree.file, XATTR_OP_SET, "user.x", "value", 0), 0);
	tree.c = made(do_mkdir(f, ROOT_INO, "c"));
	tree.other = made(do_create(f, ROOT_INO, "other"));
	tree.symlink = made(do_symlink(f, ROOT_INO, "symlink", "target"));
	tree.orphan = made(do_create_full(f, tree.c, "orphan", S_IFREG | 0600, true, true));
	assert_int_equal(do_unlink(f, tree.c, "orphan"), 0);
	tree.removed = made(do_mkdir(f, tree.c, "removed"));
	assert_int_equal(do_open(f, tree.removed, false), 0);
	assert_int_equal(do_rmdir(f, tree.c, "removed"), 0);
	assert_int_equal(do_create(f, tree.c, "gone"), 0);
	assert_int_equal(do_size(f, reply_ino(f), CATENA__SET_MASK__SET_SIZE, MIB, 0), 0);
	assert_int_equal(do_unlink(f, tree.c, "gone"), 0);
}

static int setup(uint64_t name_mask)
{
	int rc = fixture_init(&tree.f, name_mask);

	if (rc == 0)
		make_tree(&tree.f);
	return rc;
}

int check_tree_setup(void **state)
{
	return setup(UINT64_MAX);
}

int check_tree_setup_crowded(void **state)
{
	return setup(1); /* of which no place is made */
}

int check_tree_teardown(void **state)
{
	fixture_end(&tree.f);
	return 0;
}

/* ---- what is found ---- */

static void take_finding(void *user, const struct check_finding *finding)
{
	assert_true(found.count < FOUND_MAX);
	assert_non_null(check_kind_of(finding->code));
	assert_int_equal(finding->severity, check_kind_of(finding->code)->severity);
	found.findings[found.count++] = *finding;
}

void check_now(void)
{
	const struct check_options options = {.name_mask = tree.f.name_mask,
					      .sorters = check_sorters};

	memset(&found, 0, sizeof(found));
	found.rc = check_namespace(tree.f.kv, &options, take_finding, NULL, &found.result);
	assert_int_equal(found.rc == 0, found.result.error[0] == '\0');
}

static void print_found(void)
{
	for (unsigned i = 0; i < found.count; i++)
		print_error("CF-%u, inode %llu, '%.*s' in %llu: %s\n",
			    (unsigned)found.findings[i].code,
			    (unsigned long long)found.findings[i].ino, found.findings[i].name_size,
			    (const char *)found.findings[i].name,
			    (unsigned long long)found.findings[i].parent, found.findings[i].text);
}

void assert_sound(void)
{
	assert_found(0);
}

void assert_found(unsigned count, ...)
{
	bool taken[FOUND_MAX] = {false};
	va_list codes;

	check_now();
	assert_int_equal(found.rc, 0);
	if (found.count != count)
		print_found();
	assert_int_equal(found.count, count);
	va_start(codes, count);
	for (unsigned n = 0; n < count; n++) {
		int code = va_arg(codes, int);
		unsigned i = 0;

		while (i < count && (taken[i] || (int)found.findings[i].code != code))
			i++;
		if (i == count) {
			print_error("CF-%d was not found\n", code);
			print_found();
			va_end(codes);
			fail();
		}
		taken[i] = true;
	}
	va_end(codes);
}

const struct check_finding *assert_found_one(enum check_code code)
{
	assert_found(1, (int)code);
	return &found.findings[0];
}

/* ---- editing records ---- */

static void write_batch(struct kv_batch *batch)
{
	assert_int_equal(kv_write(tree.f.kv, batch, false), 0);
	kv_batch_free(batch);
}

void put_record(enum family family, const void *key, size_t key_size, const void *value,
		size_t size)
{
	struct kv_batch *batch = kv_batch_new();

	kv_batch_put(batch, family, key, key_size, value, size);
	write_batch(batch);
}

void delete_record(enum family family, const void *key, size_t key_size)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t *value;
	size_t size;

	assert_int_equal(kv_get(tree.f.kv, family, key, key_size, &value, &size), 0);
	free(value);
	kv_batch_delete(batch, family, key, key_size);
	write_batch(batch);
}

void put_meta(enum meta_tag tag, uint64_t id, const void *value, size_t size)
{
	uint8_t key[META_KEY_MAX];

	put_record(FAMILY_META, key, key_meta(key, tag, id), value, size);
}

void delete_meta(enum meta_tag tag, uint64_t id)
{
	uint8_t key[META_KEY_MAX];

	delete_record(FAMILY_META, key, key_meta(key, tag, id));
}

struct inode_record get_inode(uint64_t ino)
{
	struct inode_record inode;
	uint8_t key[8], *value;
	size_t size;

	key_u64(key, ino);
	assert_int_equal(kv_get(tree.f.kv, FAMILY_INODES, key, sizeof(key), &value, &size), 0);
	assert_true(value_decode_inode(ino, value, size, &inode));
	free(value);
	return inode;
}

void put_inode(const struct inode_record *inode)
{
	uint8_t key[8], value[INODE_VALUE_BYTES];

	key_u64(key, inode->ino);
	value_encode_inode(inode, value);
	put_record(FAMILY_INODES, key, sizeof(key), value, sizeof(value));
}

void delete_inode(uint64_t ino)
{
	uint8_t key[8];

	key_u64(key, ino);
	delete_record(FAMILY_INODES, key, sizeof(key));
}

struct counters get_counters(void)
{
	uint8_t key[META_KEY_MAX], *value;
	struct counters counters;
	size_t size;

	assert_int_equal(
		kv_get(tree.f.kv, FAMILY_META, key, key_meta(key, META_COUNTERS, 0), &value, &size),
		0);
	assert_true(value_decode_counters(value, size, &counters));
	free(value);
	return counters;
}

void put_counters(const struct counters *counters)
{
	uint8_t value[COUNTERS_VALUE_BYTES];

	value_encode_counters(counters, value);
	put_meta(META_COUNTERS, 0, value, sizeof(value));
}

uint64_t find_entry(uint64_t parent, const char *name, struct dentry *dentry)
{
	const uint8_t *key, *value;
	uint8_t start[16], end[16];
	size_t key_size, size;
	struct kv_iter *iter;
	uint64_t cookie = 0;

	key_u64_u64(start, parent, 0);
	key_u64_u64(end, parent + 1, 0);
	assert_int_equal(kv_iter_open(tree.f.kv, FAMILY_DENTRIES, start, 16, end, 16, &iter), 0);
	while (cookie == 0 && kv_iter_next(iter, &key, &key_size, &value, &size) == 1) {
		assert_true(value_decode_dentry(value, size, dentry));
		if (dentry->name_size == strlen(name) &&
		    memcmp(dentry->name, name, strlen(name)) == 0)
			cookie = get_be64(key + 8);
	}
	kv_iter_free(iter);
	assert_int_not_equal(cookie, 0);
	return cookie;
}

void put_entry(uint64_t parent, uint64_t cookie, const struct dentry *dentry)
{
	uint8_t key[16], value[DENTRY_VALUE_MAX];

	key_u64_u64(key, parent, cookie);
	put_record(FAMILY_DENTRIES, key, sizeof(key), value, value_encode_dentry(dentry, value));
}

void delete_entry(uint64_t parent, uint64_t cookie)
{
	uint8_t key[16];

	key_u64_u64(key, parent, cookie);
	delete_record(FAMILY_DENTRIES, key, sizeof(key));
}

uint64_t place_of(const char *name)
{
	return key_name_cookie(tree.f.state->name_key, tree.f.name_mask, (const uint8_t *)name,
			       strlen(name));
}

struct dentry entry_of(const char *name, uint64_t ino, uint8_t type)
{
	struct dentry dentry = {.ino = ino, .type = type, .name_size = (uint8_t)strlen(name)};

	memcpy(dentry.name, name, strlen(name));
	return dentry;
}

void count_entries(uint64_t parent, int entries, int subdirectories)
{
	struct inode_record inode = get_inode(parent);

	inode.entries += (uint64_t)(int64_t)entries;
	inode.nlink += (uint32_t)subdirectories;
	put_inode(&inode);
}
