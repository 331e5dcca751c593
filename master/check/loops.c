/* loops.c - directories that contain each other.
 *
 * Each directory leads to the one that has its name. Whoever does not come to the root, or to an
 * end that has a finding of its own, by more steps than there are directories, goes round a loop.
 *
 * All go together, by 1, 2, 4, 8 steps: where a directory is after twice as many is where the one
 * is now at which it is now. That is a join of two sorted lists, so memory holds none of them. Who
 * has come to an end is left out, so in a tree of usual depth few go on after some turns. Each also
 * takes along the lowest number that it has passed: for those on a loop it becomes that of the
 * loop. */
#include "common/base/bytes.h"
#include "master/check/run.h"

/* The records of all lists here: be64 each. */
#define CHILD  0u  /* the directory; of list `at`: where it is now */
#define AT     8u  /* where it is now; of list `at`: the directory */
#define LOWEST 16u /* of those that it has passed, itself included */

/* Sorts the directories by where they are now. */
static int sort_by_place(struct check_run *run, struct check_sorted *list, struct sorter **out)
{
	uint8_t record[CHECK_PARENT_BYTES];
	int rc = check_sorter_make(run, CHECK_PARENT_BYTES, out);

	while (rc == 0 && list->at != NULL) {
		put_be64(record, get_be64(list->at + AT));
		put_be64(record + 8, get_be64(list->at + CHILD));
		put_be64(record + 16, get_be64(list->at + LOWEST));
		check_run_progress(run, "directories", 0, 0);
		rc = check_sorter_add(run, *out, record);
		if (rc == 0)
			rc = check_sorted_step(run, list);
	}
	return rc;
}

/* Lets all in @list go twice as far: those that do not end come to *out. @places: the same, by
 * place. */
static int go_on(struct check_run *run, struct check_sorted *list, struct sorter *places,
		 struct sorter **out)
{
	uint8_t record[CHECK_PARENT_BYTES];
	struct check_sorted place = {0};
	int rc = check_sorter_make(run, CHECK_PARENT_BYTES, out);

	if (rc == 0)
		rc = check_sorted_begin(run, places, &place);
	if (rc == 0)
		rc = check_sorted_again(run, list);
	while (rc == 0 && place.at != NULL && list->at != NULL) {
		uint64_t here = get_be64(place.at), child = get_be64(list->at + CHILD);

		if (child < here) {
			rc = check_sorted_step(run, list);
			continue;
		}
		if (child == here) {
			uint64_t lowest = get_be64(place.at + LOWEST);
			uint64_t more = get_be64(list->at + LOWEST);

			put_be64(record + CHILD, get_be64(place.at + 8));
			put_be64(record + AT, get_be64(list->at + AT));
			put_be64(record + LOWEST, lowest < more ? lowest : more);
			rc = check_sorter_add(run, *out, record);
		}
		if (rc == 0)
			rc = check_sorted_step(run, &place);
	}
	return rc;
}

/* All in @list go round or lead to a loop, and where they are is on one: @places has these. */
static int tell_loops(struct check_run *run, struct check_sorted *list, struct sorter *places)
{
	struct check_sorted place = {0};
	int rc = check_sorted_begin(run, places, &place);

	if (rc == 0)
		rc = check_sorted_again(run, list);
	while (rc == 0 && place.at != NULL && list->at != NULL) {
		uint64_t here = get_be64(place.at), child = get_be64(list->at + CHILD);

		if (here < child) {
			rc = check_sorted_step(run, &place);
			continue;
		}
		if (child == here && get_be64(list->at + LOWEST) == child)
			check_tell(
				run,
				(struct check_finding){.code = CHECK_DIRECTORY_LOOP, .ino = child},
				"inode %llu is the lowest of the loop", (unsigned long long)child);
		rc = check_sorted_step(run, list);
	}
	return rc;
}

int check_loops(struct check_run *run)
{
	uint64_t all = sorter_count(run->sorters.parents), steps = 1;
	struct sorter *places = NULL, *next = NULL;
	struct check_sorted list;
	int rc = check_sorted_begin(run, run->sorters.parents, &list);

	while (rc == 0 && list.at != NULL) {
		rc = sort_by_place(run, &list, &places);
		if (rc == 0 && steps > all) {
			rc = tell_loops(run, &list, places);
			break;
		}
		if (rc == 0)
			rc = go_on(run, &list, places, &next);
		sorter_free(places);
		sorter_free(run->sorters.parents);
		places = NULL;
		run->sorters.parents = next;
		next = NULL;
		if (rc == 0)
			rc = check_sorted_begin(run, run->sorters.parents, &list);
		steps *= 2;
	}
	sorter_free(places);
	sorter_free(run->sorters.parents);
	run->sorters.parents = NULL;
	return rc;
}
