/* list.h - linked lists through members of the user's structs. Pure.
 *
 * Three kinds, by what a member must be able to do:
 * - DL_ (utlist.h of uthash): members leave from the middle, and queues. Each operation takes
 *   constant time; head->prev is the last member. A struct that may be in several lists at once
 *   names its links (DL_APPEND2 and so on).
 * - LL_ (utlist.h): stacks, and lists so short that a walk costs nothing.
 * - struct list: a member leaves without knowing which list it is in, and knows whether it is in
 *   one. */
#ifndef CATENA_COMMON_BASE_LIST_H
#define CATENA_COMMON_BASE_LIST_H
#include <stdbool.h>
#include <stddef.h>
#include <utlist.h>

/* The @type that has @ptr as its @member. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* A circle: the head, and in each member. One that is in no list is a circle of its own. */
struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* Adds @l at the end. It must be in no list. */
static inline void list_add(struct list *head, struct list *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

/* Takes @l out of its list, if it is in one. */
static inline void list_del(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/* Moves all members of @from to the end of @to. */
static inline void list_move(struct list *from, struct list *to)
{
	while (!list_empty(from)) {
		struct list *l = from->next;

		list_del(l);
		list_add(to, l);
	}
}
#endif
