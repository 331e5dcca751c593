#include <string.h>
#include "common/os/conf_internal.h"

#define NAME_MAX_COMPARED 48u

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Letters to insert, remove, change, or swap with their neighbour (optimal string alignment). */
static unsigned edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	unsigned rows[3][NAME_MAX_COMPARED + 1];

	for (unsigned j = 0; j <= b_length; j++)
		rows[0][j] = j;
	for (unsigned i = 1; i <= a_length; i++) {
		unsigned *row = rows[i % 3];
		const unsigned *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];

		row[0] = i;
		for (unsigned j = 1; j <= b_length; j++) {
			unsigned differs = a[i - 1] != b[j - 1];

			row[j] = least(up[j - 1] + differs, least(up[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], up2[j - 2] + 1);
		}
	}
	return rows[a_length % 3][b_length];
}

const char *conf_nearest(const char *name, const char *const *known, size_t count)
{
	size_t length = strlen(name);
	/* More than a third of the letters wrong is another word, not a typo. */
	unsigned best = (unsigned)(length < 3 ? 1 : length / 3) + 1;
	const char *found = NULL;

	if (length == 0 || length > NAME_MAX_COMPARED)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t known_length = strlen(known[i]);
		unsigned distance;

		if (known_length > NAME_MAX_COMPARED)
			continue;
		distance = edit_distance(name, length, known[i], known_length);
		if (distance < best) {
			best = distance;
			found = known[i];
		}
	}
	return found;
}
