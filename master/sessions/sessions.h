/* sessions.h - what the floors below tell the sessions; see shared/master.h. */
#ifndef CATENA_MASTER_SESSIONS_SESSIONS_H
#define CATENA_MASTER_SESSIONS_SESSIONS_H
#include "master/shared/master.h"

extern const struct session_events session_events;
#endif
