/* namespace_names_test.c - names in the master's state: create, lookup, link, unlink, rename,
 * readdir.
 *
 * Goal: each operation does what POSIX and Linux say, refuses what they refuse with the same error,
 * and leaves every record fitting every other.
 * Method: requests against a state on the memory twin; after each test the whole store is checked.
 * Every test runs once with the real hash of names and once with all names in a handful of hashes,
 * so that entries share slots. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/state_fixture.h"

static struct fixture f;
static uint64_t name_mask = UINT64_MAX;

static int setup(void **state)
{
	return fixture_init(&f, name_mask);
}

static int teardown(void **state)
{
	bool sound = state_is_sound(&f);

	fixture_end(&f);
	return sound ? 0 : -1;
}

static uint64_t made(int rc)
{
	assert_int_equal(rc, 0);
	return reply_ino(&f);
}

static uint64_t nlink_of(uint64_t ino)
{
	assert_int_equal(do_getattr(&f, ino), 0);
	return f.reply->attr->nlink;
}

static void a_created_file_is_found_with_its_attributes(void **state)
{
	uint64_t ino;

	f.time = 5000;
	ino = made(do_create_full(&f, ROOT_INO, "file", S_IFREG | 04644, false, true));
	assert_int_not_equal(ino, 0);
	assert_int_equal(f.reply->parent_attr->ino, ROOT_INO);
	assert_int_equal(f.reply->parent_attr->mtime, 5000);
	assert_int_equal(f.reply->parent_attr->ctime, 5000);
	assert_int_equal(do_lookup(&f, ROOT_INO, "file"), 0);
	assert_int_equal(reply_ino(&f), ino);
	assert_int_equal(f.reply->attr->mode, S_IFREG | 04644);
	assert_int_equal(f.reply->attr->nlink, 1);
	assert_int_equal(f.reply->attr->uid, 1000);
	assert_int_equal(f.reply->attr->gid, 100);
	assert_int_equal(f.reply->attr->size, 0);
	assert_int_equal(f.reply->attr->atime, 5000);
	assert_int_equal(f.reply->attr->pool, 1);
	assert_int_not_equal(f.reply->attr->file_id, 0);
	assert_int_equal(do_lookup(&f, ROOT_INO, "other"), -ENOENT);
	assert_int_equal(do_lookup(&f, ino, "x"), -ENOTDIR);
	assert_int_equal(do_lookup(&f, 999, "x"), -ENOENT);
	assert_int_equal(do_getattr(&f, 999), -ESTALE);
}

static void names_are_checked(void **state)
{
	char name[300];

	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	assert_int_equal(do_create(&f, ROOT_INO, name), -ENAMETOOLONG);
	assert_int_equal(do_lookup(&f, ROOT_INO, name), -ENAMETOOLONG);
	name[255] = '\0';
	assert_int_equal(do_create(&f, ROOT_INO, name), 0);
	assert_int_equal(do_lookup(&f, ROOT_INO, name), 0);
	assert_int_equal(do_rename(&f, ROOT_INO, name, ROOT_INO, "short", 0), 0);
	assert_int_equal(do_create(&f, ROOT_INO, ""), -EINVAL);
	assert_int_equal(do_create(&f, ROOT_INO, "a/b"), -EINVAL);
	assert_int_equal(do_mkdir(&f, ROOT_INO, "."), -EEXIST);
	assert_int_equal(do_mkdir(&f, ROOT_INO, ".."), -EEXIST);
	assert_int_equal(do_create(&f, ROOT_INO, "..."), 0);
	assert_int_equal(do_create(&f, ROOT_INO, "\xff\x01 \n"), 0);
	assert_int_equal(do_lookup(&f, ROOT_INO, "\xff\x01 \n"), 0);
	assert_int_equal(do_rename(&f, ROOT_INO, "short", ROOT_INO, "a/b", 0), -EINVAL);
	assert_int_equal(do_rename(&f, ROOT_INO, "short", ROOT_INO, "..", 0), -EINVAL);
}

static void dot_and_dotdot_can_be_looked_up(void **state)
{
	uint64_t a = made(do_mkdir(&f, ROOT_INO, "a")), b = made(do_mkdir(&f, a, "b"));

	assert_int_equal(made(do_lookup(&f, b, ".")), b);
	assert_int_equal(made(do_lookup(&f, b, "..")), a);
	assert_int_equal(made(do_lookup(&f, ROOT_INO, "..")), ROOT_INO);
}

static void an_existing_name_is_opened_or_refused(void **state)
{
	uint64_t file = made(do_create(&f, ROOT_INO, "file"));

	made(do_mkdir(&f, ROOT_INO, "dir"));
	made(do_symlink(&f, ROOT_INO, "link", "file"));
	assert_int_equal(do_create(&f, ROOT_INO, "file"), -EEXIST);
	assert_int_equal(do_mkdir(&f, ROOT_INO, "file"), -EEXIST);
	assert_int_equal(do_create_full(&f, ROOT_INO, "file", S_IFREG | 0600, true, true), -EEXIST);
	assert_int_equal(session_open_total(f.state, file), 0);
	assert_int_equal(do_create_full(&f, ROOT_INO, "file", S_IFREG | 0600, true, false), 0);
	assert_int_equal(reply_ino(&f), file);
	assert_int_equal(f.reply->attr->mode, S_IFREG | 0644);
	assert_int_equal(session_open_total(f.state, file), 1);
	assert_int_equal(do_create_full(&f, ROOT_INO, "file", S_IFREG | 0600, false, false), 0);
	assert_int_equal(session_open_total(f.state, file), 1);
	assert_int_equal(do_create_full(&f, ROOT_INO, "dir", S_IFREG, true, false), -EISDIR);
	/* Appeared since the client looked: it has to look again. */
	assert_int_equal(do_create_full(&f, ROOT_INO, "link", S_IFREG, true, false), -ESTALE);
	assert_int_equal(do_create_full(&f, ROOT_INO, "new", S_IFREG | 0600, true, false), 0);
	assert_int_equal(session_open_total(f.state, reply_ino(&f)), 1);
}

static void all_types_can_be_made(void **state)
{
	static const uint32_t types[] = {S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
	char name[8];

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		snprintf(name, sizeof(name), "t%u", i);
		assert_int_equal(do_create_full(&f, ROOT_INO, name, types[i] | 0600, false, true),
				 0);
		assert_int_equal(f.reply->attr->mode, types[i] | 0600);
		assert_int_equal(f.reply->attr->file_id != 0, types[i] == S_IFREG);
	}
	assert_int_equal(do_create_full(&f, ROOT_INO, "untyped", 0640, false, true), 0);
	assert_int_equal(f.reply->attr->mode, S_IFREG | 0640);
	assert_int_equal(do_create_full(&f, ROOT_INO, "bad", 0030000 | 0640, false, true), -EINVAL);
}

static void device_numbers_are_kept_for_devices(void **state)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__CreateReq req = CATENA__CREATE_REQ__INIT;

	request.op_case = CATENA__REQUEST__OP_CREATE;
	request.create = &req;
	req.parent = ROOT_INO;
	req.name = bytes_of("null");
	req.mode = S_IFCHR | 0666;
	req.rdev = 0x103;
	req.exclusive = true;
	assert_int_equal(fixture_send(&f, &request), 0);
	assert_int_equal(f.reply->attr->rdev, 0x103);
	request.id = 0;
	req.name = bytes_of("plain");
	req.mode = S_IFREG | 0666;
	assert_int_equal(fixture_send(&f, &request), 0);
	assert_int_equal(f.reply->attr->rdev, 0);
}

static void symlinks_keep_their_target(void **state)
{
	char target[SYMLINK_BYTES_MAX + 2];
	uint64_t ino;

	ino = made(do_symlink(&f, ROOT_INO, "link", "../some/where"));
	assert_int_equal(f.reply->attr->mode, S_IFLNK | 0777);
	assert_int_equal(f.reply->attr->size, 13);
	assert_int_equal(do_readlink(&f, ino), 0);
	assert_int_equal(f.reply->data.len, 13);
	assert_memory_equal(f.reply->data.data, "../some/where", 13);
	memset(target, 't', sizeof(target));
	target[SYMLINK_BYTES_MAX + 1] = '\0';
	assert_int_equal(do_symlink(&f, ROOT_INO, "long", target), -ENAMETOOLONG);
	target[SYMLINK_BYTES_MAX] = '\0';
	ino = made(do_symlink(&f, ROOT_INO, "long", target));
	assert_int_equal(do_readlink(&f, ino), 0);
	assert_int_equal(f.reply->data.len, SYMLINK_BYTES_MAX);
	assert_int_equal(do_symlink(&f, ROOT_INO, "empty", ""), -ENOENT);
	assert_int_equal(do_readlink(&f, ROOT_INO), -EINVAL);
	assert_int_equal(do_unlink(&f, ROOT_INO, "long"), 0);
	assert_int_equal(do_readlink(&f, ino), -ESTALE);
}

static void directories_count_their_links(void **state)
{
	uint64_t a = made(do_mkdir(&f, ROOT_INO, "a"));

	assert_int_equal(f.reply->attr->nlink, 2);
	assert_int_equal(f.reply->attr->parent, ROOT_INO);
	assert_int_equal(f.reply->parent_attr->nlink, 3);
	made(do_mkdir(&f, a, "b"));
	made(do_create(&f, a, "c"));
	assert_int_equal(nlink_of(a), 3);
	assert_int_equal(do_rmdir(&f, ROOT_INO, "a"), -ENOTEMPTY);
	assert_int_equal(do_rmdir(&f, a, "c"), -ENOTDIR);
	assert_int_equal(do_unlink(&f, a, "b"), -EISDIR);
	assert_int_equal(do_rmdir(&f, a, "b"), 0);
	assert_int_equal(f.reply->parent_attr->nlink, 2);
	assert_int_equal(f.reply->attr->nlink, 0);
	assert_int_equal(do_unlink(&f, a, "c"), 0);
	assert_int_equal(do_rmdir(&f, ROOT_INO, "a"), 0);
	assert_int_equal(do_rmdir(&f, ROOT_INO, "a"), -ENOENT);
	assert_int_equal(do_rmdir(&f, ROOT_INO, "."), -EINVAL);
	assert_int_equal(do_rmdir(&f, ROOT_INO, ".."), -ENOTEMPTY);
	assert_int_equal(do_unlink(&f, ROOT_INO, ".."), -EISDIR);
}

static void a_removed_directory_takes_no_entries(void **state)
{
	uint64_t file = made(do_create(&f, ROOT_INO, "file"));
	uint64_t dir = made(do_mkdir(&f, ROOT_INO, "dir"));

	assert_int_equal(do_open(&f, dir, false), 0);
	assert_int_equal(do_rmdir(&f, ROOT_INO, "dir"), 0);
	assert_int_equal(nlink_of(dir), 0);
	assert_int_equal(do_create(&f, dir, "x"), -ENOENT);
	assert_int_equal(do_mkdir(&f, dir, "x"), -ENOENT);
	assert_int_equal(do_link(&f, file, dir, "x"), -ENOENT);
	assert_int_equal(do_rename(&f, ROOT_INO, "file", dir, "x", 0), -ENOENT);
	assert_int_equal(do_lookup(&f, dir, "x"), -ENOENT);
	assert_int_equal(do_readdir(&f, dir, 0, 0, true), -ENOENT);
	assert_int_equal(made(do_lookup(&f, dir, ".")), dir);
	assert_int_equal(do_close(&f, dir, 1), 0);
	assert_int_equal(do_lookup(&f, dir, "."), -ESTALE);
	assert_int_equal(do_getattr(&f, dir), -ESTALE);
	assert_int_equal(do_create(&f, dir, "x"), -ENOENT);
}

static void sgid_directories_hand_down_their_group(void **state)
{
	Catena__SetattrReq set = CATENA__SETATTR_REQ__INIT;
	uint64_t dir = made(do_mkdir(&f, ROOT_INO, "dir"));

	set.ino = dir;
	set.mask = CATENA__SET_MASK__SET_MODE | CATENA__SET_MASK__SET_GID;
	set.mode = 02775;
	set.gid = 42;
	assert_int_equal(do_setattr(&f, &set), 0);
	assert_int_equal(do_create_full(&f, dir, "file", S_IFREG | 0664, false, true), 0);
	assert_int_equal(f.reply->attr->gid, 42);
	assert_int_equal(f.reply->attr->mode, S_IFREG | 0664);
	assert_int_equal(do_mkdir(&f, dir, "sub"), 0);
	assert_int_equal(f.reply->attr->gid, 42);
	assert_int_equal(f.reply->attr->mode, S_IFDIR | 02755);
}

static void hard_links_share_the_inode(void **state)
{
	uint64_t dir = made(do_mkdir(&f, ROOT_INO, "dir"));
	uint64_t file = made(do_create(&f, ROOT_INO, "file"));

	f.time = 2000;
	assert_int_equal(do_link(&f, file, dir, "other"), 0);
	assert_int_equal(reply_ino(&f), file);
	assert_int_equal(f.reply->attr->nlink, 2);
	assert_int_equal(f.reply->attr->ctime, 2000);
	assert_int_equal(f.reply->parent_attr->ino, dir);
	assert_int_equal(do_link(&f, file, dir, "other"), -EEXIST);
	assert_int_equal(do_link(&f, dir, ROOT_INO, "hard"), -EPERM);
	assert_int_equal(do_link(&f, 999, ROOT_INO, "hard"), -ESTALE);
	assert_int_equal(do_link(&f, file, file, "hard"), -ENOTDIR);
	assert_int_equal(do_unlink(&f, ROOT_INO, "file"), 0);
	assert_int_equal(f.reply->attr->nlink, 1);
	assert_int_equal(made(do_lookup(&f, dir, "other")), file);
	assert_int_equal(do_unlink(&f, dir, "other"), 0);
	assert_int_equal(f.reply->attr->nlink, 0);
	assert_int_equal(do_getattr(&f, file), -ESTALE);
}

static void too_many_links_are_refused(void **state)
{
	uint64_t file = made(do_create(&f, ROOT_INO, "file"));
	char name[16];

	for (unsigned i = 1; i < LINKS_MAX && name_mask == UINT64_MAX; i++) {
		snprintf(name, sizeof(name), "l%u", i);
		assert_int_equal(do_link(&f, file, ROOT_INO, name), 0);
	}
	if (name_mask == UINT64_MAX)
		assert_int_equal(do_link(&f, file, ROOT_INO, "more"), -EMLINK);
}

static void an_open_file_cannot_be_linked_once_its_names_are_gone(void **state)
{
	uint64_t file = made(do_create_full(&f, ROOT_INO, "file", S_IFREG, true, true));

	assert_int_equal(do_unlink(&f, ROOT_INO, "file"), 0);
	assert_int_equal(do_link(&f, file, ROOT_INO, "again"), -ENOENT);
}

/* ---- rename ---- */

static void rename_moves_and_tells_all_it_changed(void **state)
{
	uint64_t a = made(do_mkdir(&f, ROOT_INO, "a")), b = made(do_mkdir(&f, ROOT_INO, "b"));
	uint64_t file = made(do_create(&f, a, "file"));

	f.time = 3000;
	assert_int_equal(do_rename(&f, a, "file", b, "moved", 0), 0);
	assert_null(f.reply->attr);
	assert_int_equal(f.reply->moved->ino, file);
	assert_int_equal(f.reply->moved->ctime, 3000);
	assert_int_equal(f.reply->moved->mtime, 1000);
	assert_int_equal(f.reply->parent_attr->ino, a);
	assert_int_equal(f.reply->parent_attr->mtime, 3000);
	assert_int_equal(f.reply->new_parent_attr->ino, b);
	assert_int_equal(f.reply->new_parent_attr->mtime, 3000);
	assert_int_equal(do_lookup(&f, a, "file"), -ENOENT);
	assert_int_equal(made(do_lookup(&f, b, "moved")), file);
	assert_int_equal(do_rename(&f, a, "file", b, "x", 0), -ENOENT);
	assert_int_equal(do_rename(&f, b, "moved", b, "again", 0), 0);
	assert_null(f.reply->new_parent_attr);
	assert_int_equal(do_rename(&f, b, "again", 999, "x", 0), -ENOENT);
	assert_int_equal(do_rename(&f, b, "again", file, "x", 0), -ENOTDIR);
}

static void rename_replaces_what_fits(void **state)
{
	uint64_t dir = made(do_mkdir(&f, ROOT_INO, "dir"));
	uint64_t full = made(do_mkdir(&f, ROOT_INO, "full"));
	uint64_t empty = made(do_mkdir(&f, ROOT_INO, "empty"));
	uint64_t one = made(do_create(&f, ROOT_INO, "one"));
	uint64_t two = made(do_create(&f, ROOT_INO, "two"));

	made(do_create(&f, full, "entry"));
	assert_int_equal(do_rename(&f, ROOT_INO, "one", ROOT_INO, "dir", 0), -EISDIR);
	assert_int_equal(do_rename(&f, ROOT_INO, "dir", ROOT_INO, "one", 0), -ENOTDIR);
	assert_int_equal(do_rename(&f, ROOT_INO, "dir", ROOT_INO, "full", 0), -ENOTEMPTY);
	assert_int_equal(do_rename(&f, ROOT_INO, "one", ROOT_INO, "two", 1), -EEXIST);

	assert_int_equal(do_rename(&f, ROOT_INO, "one", ROOT_INO, "two", 0), 0);
	assert_int_equal(f.reply->attr->ino, two);
	assert_int_equal(f.reply->attr->nlink, 0);
	assert_int_equal(made(do_lookup(&f, ROOT_INO, "two")), one);
	assert_int_equal(do_getattr(&f, two), -ESTALE);

	assert_int_equal(do_rename(&f, ROOT_INO, "dir", ROOT_INO, "empty", 0), 0);
	assert_int_equal(f.reply->attr->ino, empty);
	assert_int_equal(f.reply->parent_attr->nlink, 4);
	assert_int_equal(made(do_lookup(&f, ROOT_INO, "empty")), dir);
	assert_int_equal(do_getattr(&f, empty), -ESTALE);
}

static void rename_keeps_parents_and_their_links(void **state)
{
	uint64_t a = made(do_mkdir(&f, ROOT_INO, "a")), b = made(do_mkdir(&f, ROOT_INO, "b"));
	uint64_t sub = made(do_mkdir(&f, a, "sub"));
	uint64_t victim = made(do_mkdir(&f, b, "victim"));

	assert_int_equal(do_rename(&f, a, "sub", b, "victim", 0), 0);
	assert_int_equal(f.reply->attr->ino, victim);
	assert_int_equal(f.reply->moved->parent, b);
	assert_int_equal(f.reply->parent_attr->nlink, 2);
	assert_int_equal(f.reply->new_parent_attr->nlink, 3);
	assert_int_equal(made(do_lookup(&f, sub, "..")), b);
	assert_int_equal(do_rename(&f, b, "victim", ROOT_INO, "up", 0), 0);
	assert_int_equal(nlink_of(b), 2);
	assert_int_equal(nlink_of(ROOT_INO), 5);
}

static void rename_makes_no_loops(void **state)
{
	uint64_t a = made(do_mkdir(&f, ROOT_INO, "a")), b = made(do_mkdir(&f, a, "b"));
	uint64_t c = made(do_mkdir(&f, b, "c")), other = made(do_mkdir(&f, ROOT_INO, "other"));

	assert_int_equal(do_rename(&f, ROOT_INO, "a", a, "x", 0), -EINVAL);
	assert_int_equal(do_rename(&f, ROOT_INO, "a", c, "x", 0), -EINVAL);
	assert_int_equal(do_rename(&f, a, "b", c, "x", 0), -EINVAL);
	assert_int_equal(do_rename(&f, b, "c", ROOT_INO, "a", 0), -ENOTEMPTY);
	assert_int_equal(do_rename(&f, ROOT_INO, "a", b, "c", 2), -EINVAL);
	assert_int_equal(do_rename(&f, b, "c", ROOT_INO, "a", 2), -EINVAL);
	assert_int_equal(do_rename(&f, a, "b", other, "b", 0), 0);
	assert_int_equal(do_rename(&f, ROOT_INO, "a", c, "x", 0), 0);
	assert_int_equal(do_rename(&f, ROOT_INO, "other", a, "x", 0), -EINVAL);
}

static void rename_onto_another_name_of_the_same_file_does_nothing(void **state)
{
	uint64_t file = made(do_create(&f, ROOT_INO, "file"));

	assert_int_equal(do_link(&f, file, ROOT_INO, "other"), 0);
	assert_int_equal(do_rename(&f, ROOT_INO, "file", ROOT_INO, "other", 0), 0);
	assert_int_equal(f.reply->moved->ino, file);
	assert_int_equal(f.reply->moved->nlink, 2);
	assert_int_equal(do_rename(&f, ROOT_INO, "file", ROOT_INO, "other", 2), 0);
	assert_int_equal(do_rename(&f, ROOT_INO, "file", ROOT_INO, "other", 1), -EEXIST);
	assert_int_equal(do_rename(&f, ROOT_INO, "file", ROOT_INO, "file", 0), 0);
	assert_int_equal(made(do_lookup(&f, ROOT_INO, "file")), file);
	assert_int_equal(made(do_lookup(&f, ROOT_INO, "other")), file);
}

static void exchange_swaps_entries_of_any_type(void **state)
{
	uint64_t a = made(do_mkdir(&f, ROOT_INO, "a")), b = made(do_mkdir(&f, ROOT_INO, "b"));
	uint64_t dir = made(do_mkdir(&f, a, "dir")), file = made(do_create(&f, b, "file"));

	made(do_create(&f, dir, "inside"));
	assert_int_equal(do_rename(&f, a, "dir", b, "none", 2), -ENOENT);
	assert_int_equal(do_rename(&f, a, "dir", b, "file", 3), -EINVAL);
	assert_int_equal(do_rename(&f, a, "dir", b, "file", 4), -EINVAL);
	assert_int_equal(do_rename(&f, a, "dir", b, "file", 2), 0);
	assert_int_equal(f.reply->moved->ino, dir);
	assert_int_equal(f.reply->attr->ino, file);
	assert_int_equal(f.reply->attr->nlink, 1);
	assert_int_equal(f.reply->parent_attr->nlink, 2);
	assert_int_equal(f.reply->new_parent_attr->nlink, 3);
	assert_int_equal(made(do_lookup(&f, a, "dir")), file);
	assert_int_equal(made(do_lookup(&f, b, "file")), dir);
	assert_int_equal(made(do_lookup(&f, dir, "..")), b);
	assert_int_equal(do_rename(&f, ROOT_INO, "a", ROOT_INO, "b", 2), 0);
	assert_int_equal(made(do_lookup(&f, ROOT_INO, "a")), b);
}

/* ---- readdir ---- */

#define LISTED 500

/* Reads the whole directory in pages and marks which of the names "n0".. are there. */
static void list_names(uint64_t dir, uint32_t limit, bool plus, unsigned char seen[LISTED],
		       void (*between)(uint64_t dir))
{
	uint64_t cookie = 0;
	bool eof;

	memset(seen, 0, LISTED);
	do {
		assert_int_equal(do_readdir(&f, dir, cookie, limit, plus), 0);
		assert_true(f.reply->n_entries <= limit);
		for (size_t i = 0; i < f.reply->n_entries; i++) {
			const Catena__DirEntry *entry = f.reply->entries[i];
			char name[300];
			unsigned number;

			assert_true(entry->cookie > cookie);
			assert_true(entry->cookie >= 1ull << 62 && entry->cookie < 1ull << 63);
			cookie = entry->cookie;
			memcpy(name, entry->name.data, entry->name.len);
			name[entry->name.len] = '\0';
			assert_int_equal(entry->type, S_IFREG >> 12);
			assert_int_equal(entry->attr != NULL, plus);
			if (plus)
				assert_int_equal(entry->attr->ino, entry->ino);
			if (sscanf(name, "n%u", &number) == 1 && number < LISTED)
				seen[number]++;
		}
		eof = f.reply->eof;
		if (between != NULL && !eof)
			between(dir);
	} while (!eof);
}

static void readdir_gives_each_entry_once_in_pages_of_any_size(void **state)
{
	static const uint32_t limits[] = {1, 3, 100, 4000};
	uint64_t dir = made(do_mkdir(&f, ROOT_INO, "dir"));
	unsigned char seen[LISTED];
	char name[16];

	for (unsigned i = 0; i < LISTED; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		made(do_create(&f, dir, name));
	}
	for (unsigned l = 0; l < 4; l++) {
		list_names(dir, limits[l], l % 2 == 0, seen, NULL);
		for (unsigned i = 0; i < LISTED; i++)
			assert_int_equal(seen[i], 1);
	}
	assert_int_equal(do_readdir(&f, dir, UINT64_MAX, 10, false), 0);
	assert_true(f.reply->eof);
	assert_int_equal(do_readdir(&f, 999, 0, 10, false), -ESTALE);
}

static unsigned churned;

/* Entries with numbers from LISTED/2 come and go while the directory is read. */
static void churn(uint64_t dir)
{
	char name[16];

	for (unsigned i = 0; i < 20; i++, churned++) {
		snprintf(name, sizeof(name), "n%u", LISTED / 2 + churned * 7 % (LISTED / 2));
		if (do_create(&f, dir, name) == -EEXIST)
			assert_int_equal(do_unlink(&f, dir, name), 0);
	}
}

static void readdir_neither_skips_nor_repeats_while_others_come_and_go(void **state)
{
	uint64_t dir = made(do_mkdir(&f, ROOT_INO, "dir"));
	unsigned char seen[LISTED];
	char name[16];

	for (unsigned i = 0; i < LISTED / 2; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		made(do_create(&f, dir, name));
	}
	list_names(dir, 7, false, seen, churn);
	for (unsigned i = 0; i < LISTED / 2; i++)
		assert_int_equal(seen[i], 1);
	for (unsigned i = LISTED / 2; i < LISTED; i++)
		assert_true(seen[i] <= 1);
}

static void readdir_replies_are_bounded_in_bytes(void **state)
{
	uint64_t dir = made(do_mkdir(&f, ROOT_INO, "dir"));
	char name[260];
	unsigned count = 0;
	uint64_t cookie = 0;

	if (name_mask != UINT64_MAX)
		return;
	for (unsigned i = 0; i < 3000; i++) {
		memset(name, 'x', sizeof(name));
		snprintf(name + 245, 11, "%010u", i);
		made(do_create(&f, dir, name));
	}
	do {
		assert_int_equal(do_readdir(&f, dir, cookie, 100000, true), 0);
		assert_true(f.size <= 512u << 10);
		assert_true(f.reply->eof || f.reply->n_entries > 500);
		count += (unsigned)f.reply->n_entries;
		cookie = f.reply->entries[f.reply->n_entries - 1]->cookie;
	} while (!f.reply->eof);
	assert_int_equal(count, 3000);
}

/* ---- entries that share a hash ---- */

static void entries_of_one_hash_are_found_after_others_are_removed(void **state)
{
	uint64_t inos[DENTRY_SLOTS], dir = made(do_mkdir(&f, ROOT_INO, "dir"));
	char name[16];

	if (name_mask == UINT64_MAX)
		return;
	f.state->name_mask = 0; /* one hash for all */
	for (unsigned i = 0; i < DENTRY_SLOTS; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		inos[i] = made(do_create(&f, dir, name));
	}
	assert_int_equal(do_create(&f, dir, "more"), -ENOSPC);
	assert_int_equal(do_link(&f, inos[0], dir, "more"), -ENOSPC);
	assert_int_equal(do_rename(&f, dir, "n1", dir, "more", 0), -ENOSPC);
	assert_int_equal(do_create(&f, dir, "n63"), -EEXIST);
	for (unsigned i = 0; i < DENTRY_SLOTS; i += 2) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(do_unlink(&f, dir, name), 0);
	}
	assert_int_equal(fixture_reopen(&f), 0);
	f.state->name_mask = 0;
	for (unsigned i = 0; i < DENTRY_SLOTS; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(do_lookup(&f, dir, name), i % 2 == 0 ? -ENOENT : 0);
		if (i % 2 == 1)
			assert_int_equal(reply_ino(&f), inos[i]);
	}
	/* Into the gaps, and along the slots. */
	assert_int_equal(do_rename(&f, dir, "n63", dir, "moved", 0), 0);
	assert_int_equal(made(do_lookup(&f, dir, "moved")), inos[63]);
	assert_int_equal(do_rename(&f, dir, "n1", dir, "n3", 0), 0);
	assert_int_equal(made(do_lookup(&f, dir, "n3")), inos[1]);
	assert_int_equal(do_unlink(&f, dir, "moved"), 0);
	for (unsigned i = 3; i < DENTRY_SLOTS - 1; i += 2) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(do_unlink(&f, dir, name), 0);
	}
	assert_int_equal(do_readdir(&f, dir, 0, 10, false), 0);
	assert_int_equal(f.reply->n_entries, 0);
	f.state->name_mask = name_mask;
	assert_int_equal(do_rmdir(&f, ROOT_INO, "dir"), 0);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_created_file_is_found_with_its_attributes),
		TEST(names_are_checked),
		TEST(dot_and_dotdot_can_be_looked_up),
		TEST(an_existing_name_is_opened_or_refused),
		TEST(all_types_can_be_made),
		TEST(device_numbers_are_kept_for_devices),
		TEST(symlinks_keep_their_target),
		TEST(directories_count_their_links),
		TEST(a_removed_directory_takes_no_entries),
		TEST(sgid_directories_hand_down_their_group),
		TEST(hard_links_share_the_inode),
		TEST(too_many_links_are_refused),
		TEST(an_open_file_cannot_be_linked_once_its_names_are_gone),
		TEST(rename_moves_and_tells_all_it_changed),
		TEST(rename_replaces_what_fits),
		TEST(rename_keeps_parents_and_their_links),
		TEST(rename_makes_no_loops),
		TEST(rename_onto_another_name_of_the_same_file_does_nothing),
		TEST(exchange_swaps_entries_of_any_type),
		TEST(readdir_gives_each_entry_once_in_pages_of_any_size),
		TEST(readdir_neither_skips_nor_repeats_while_others_come_and_go),
		TEST(readdir_replies_are_bounded_in_bytes),
		TEST(entries_of_one_hash_are_found_after_others_are_removed),
	};
	int failed = cmocka_run_group_tests_name("namespace", tests, NULL, NULL);

	/* Some 32 hashes for all names. */
	name_mask = UINT64_C(31) << 20;
	return failed +
	       cmocka_run_group_tests_name("namespace, names sharing hashes", tests, NULL, NULL);
}
