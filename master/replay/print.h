/* print.h - entries and changes of the store, for people. */
#ifndef CATENA_MASTER_REPLAY_PRINT_H
#define CATENA_MASTER_REPLAY_PRINT_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Prints an entry as one line without its end: the index, and all fields that are not 0 or empty. */
void print_entry(FILE *out, uint64_t index, const uint8_t *entry, size_t size);
/* Prints a line for each change (kv_batch_bytes()): the family's name, key and value in hexadecimal,
 * and as text when it is one. */
void print_changes(FILE *out, const uint8_t *changes, size_t size);
#endif
