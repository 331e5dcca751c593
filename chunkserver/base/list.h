/* list.h - intrusive lists, in a circle with a head. Pure. */
#ifndef CATENA_CHUNKSERVER_BASE_LIST_H
#define CATENA_CHUNKSERVER_BASE_LIST_H
#include <stdbool.h>
#include <stddef.h>

/* The @type that has @ptr as its @member. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

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

static inline void list_add(struct list *head, struct list *l) /* at the end */
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline void list_del(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

static inline void list_move(struct list *from, struct list *to) /* all, to the end */
{
	while (!list_empty(from)) {
		struct list *l = from->next;

		list_del(l);
		list_add(to, l);
	}
}
#endif
