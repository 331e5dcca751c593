/* chain_manager_test - the rules by which chains change.
 *
 * Goal: each rule of chains/manager.h, and in any order of events: never a chain without in-sync
 * member, never two being made equal, never the last one taken out, and all whole again when all is
 * well. Method: a cluster in virtual time (chain_manager_rig.h), and thousands of random events. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include "tests/lib/random.h"
#include "tests/unit/master/chains/chain_manager_rig.h"

static struct rig r;

#define begin(servers, copies, partitions) rig_begin(&r, servers, copies, partitions)
#define end()                              rig_finish(&r)
#define assert_chain(text)                 assert_string_equal(rig_chain(&r, 0), text)

/* ---- out and in ---- */

static void test_a_killed_server_is_out_at_once_and_comes_back_behind(void **state)
{
	begin(3, 3, 1);
	r.catches_up = false;
	rig_kill(&r, 0);
	rig_run(&r, 30);
	assert_chain("1 2 3");
	rig_run(&r, 40);
	assert_chain("2 3 1-");
	assert_int_equal(rig_start(&r, 0), 0);
	assert_false(rig_beat(&r, 0, false)); /* not before its life is stored */
	rig_run(&r, 100);
	assert_chain("2 3 1+");
	assert_int_equal(r.stored_life[0], 2);
	assert_true(rig_beat(&r, 0, false));
	r.catches_up = true;
	rig_run(&r, 100);
	assert_chain("2 3 1");
	end();
}

static void test_a_silent_server_is_out_when_its_lease_is_surely_over(void **state)
{
	begin(3, 3, 1);
	r.catches_up = false;
	r.beat_ns = r.now_ns;
	for (uint32_t s = 0; s < 3; s++)
		rig_beat(&r, s, false);
	rig_lose(&r, 1);
	rig_run(&r, 2400);
	assert_chain("1 2 3");
	rig_run(&r, 300);
	assert_chain("1 3 2-");
	end();
}

/* In another epoch, because what was answered in the last one may be lost. */
static void test_deaths_of_all_leave_the_chains_as_they_were(void **state)
{
	for (int power = 0; power < 2; power++) {
		begin(3, 3, 4);
		uint32_t changes = r.changes;
		uint64_t epochs[4];

		for (uint32_t p = 0; p < 4; p++)
			epochs[p] = r.chains[p].epoch;
		for (uint32_t s = 0; s < 3; s++) {
			if (power)
				rig_lose(&r, s);
			else
				rig_kill(&r, s);
			/* Their last heartbeats were at different times. */
			r.now_ns += power ? 150 * MS : 10 * MS;
		}
		rig_run(&r, 20000);
		assert_int_equal(r.changes, changes);
		/* They come back, one after the other, and go on as they were. */
		for (uint32_t s = 0; s < 3; s++) {
			assert_int_equal(rig_start(&r, s), 0);
			rig_run(&r, 500);
		}
		rig_run(&r, 5000);
		assert_int_equal(r.changes, changes + 4);
		for (uint32_t p = 0; p < 4; p++) {
			assert_int_equal(r.chains[p].members[2].state, MEMBER_IN_SYNC);
			assert_int_equal(r.chains[p].epoch, epochs[p] + 1);
		}
		assert_int_equal(r.stored_life[0], 2);
		assert_true(rig_beat(&r, 0, false));
		end();
	}
}

static void test_the_last_one_stays_and_the_first_back_waits_for_it(void **state)
{
	begin(3, 3, 1);
	r.catches_up = false;
	rig_kill(&r, 0);
	rig_run(&r, 200);
	rig_kill(&r, 1);
	rig_run(&r, 200);
	assert_chain("3 1- 2-");
	rig_kill(&r, 2);
	rig_run(&r, 10000);
	assert_chain("3 1- 2-");
	/* Those who were taken out cannot go on without it. */
	assert_int_equal(rig_start(&r, 0), 0);
	assert_int_equal(rig_start(&r, 1), 0);
	rig_run(&r, 10000);
	assert_chain("3 1- 2-");
	assert_int_equal(rig_start(&r, 2), 0);
	rig_run(&r, 100);
	assert_chain("3 1+ 2-");
	r.catches_up = true;
	rig_run(&r, 200);
	assert_chain("3 1 2");
	end();
}

static void test_the_first_back_of_several_waits_a_little_for_the_others(void **state)
{
	begin(3, 3, 1);
	r.catches_up = false;
	for (uint32_t s = 0; s < 3; s++)
		rig_kill(&r, s);
	rig_run(&r, 5000);
	assert_int_equal(rig_start(&r, 1), 0);
	rig_run(&r, 2900);
	assert_chain("1 2 3");
	assert_false(rig_beat(&r, 1, false));
	rig_run(&r, 200);
	assert_chain("2 1- 3-");
	end();
}

static void test_leaving_and_failing_disks_are_out(void **state)
{
	begin(3, 3, 1);
	r.catches_up = false;
	assert_false(rig_beat(&r, 2, true));
	r.server[2].silent = true;
	rig_run(&r, 60);
	assert_chain("1 2 3-");
	r.target[0].report.error = EIO;
	rig_beat(&r, 0, false);
	rig_run(&r, 10);
	assert_chain("2 3- 1-");
	/* It works again, but is not trusted at once. */
	r.target[0].report.error = 0;
	rig_run(&r, 9000);
	assert_chain("2 3- 1-");
	rig_run(&r, 2000);
	assert_chain("2 1+ 3-");
	end();
}

static void test_a_target_that_its_server_lost_is_out(void **state)
{
	rig_init(&r, 3, 2, 2, 8);
	rig_all_up(&r);
	r.target[0].listed = false;
	rig_register(&r, 0);
	rig_run(&r, 500);
	for (uint32_t p = 0; p < 8; p++) {
		int at = cluster_map_chain_index(&r.chains[p], 1);

		assert_true(at < 0 || r.chains[p].members[at].state == MEMBER_OFFLINE);
	}
	end();
}

/* ---- lives ---- */

static void test_a_restart_is_a_demotion_with_its_life_in_one_plan(void **state)
{
	const struct chain_plan *plan;

	begin(3, 3, 1);
	/* Faster than anybody noticed. */
	assert_int_equal(rig_start(&r, 0), 0);
	assert_false(rig_beat(&r, 0, false));
	assert_true(chain_manager_plan(r.manager, &r.map, r.now_ns, &plan));
	assert_int_equal(plan->change_count, 1);
	assert_int_equal(plan->life_count, 1);
	assert_int_equal(plan->lives[0].target, 1);
	assert_int_equal(plan->lives[0].life, 2);
	assert_int_equal(plan->fenced_count, 0);
	rig_take(&r, plan);
	assert_chain("2 3 1+");
	chain_manager_planned(r.manager);
	assert_false(chain_manager_plan(r.manager, &r.map, r.now_ns, &plan));
	assert_false(rig_beat(&r, 0, false));
	assert_true(rig_beat(&r, 1, false));
	chain_manager_published(r.manager, true);
	assert_true(rig_beat(&r, 0, false));
	end();
}

static void test_a_refused_plan_is_made_anew(void **state)
{
	const struct chain_plan *plan;

	begin(3, 3, 1);
	assert_int_equal(rig_start(&r, 0), 0);
	assert_true(chain_manager_plan(r.manager, &r.map, r.now_ns, &plan));
	chain_manager_planned(r.manager);
	chain_manager_published(r.manager, false);
	assert_false(rig_beat(&r, 0, false));
	assert_true(chain_manager_plan(r.manager, &r.map, r.now_ns, &plan));
	assert_int_equal(plan->change_count, 1);
	assert_int_equal(plan->life_count, 1);
	end();
}

/* It may have ended before it has said that it knows of its end: others wait for its lease. */
static void test_who_has_left_is_probed_as_long_as_it_may_have_a_lease(void **state)
{
	uint64_t server = 0;

	begin(3, 3, 1);
	assert_false(rig_beat(&r, 0, true));
	r.server[0].silent = true;
	rig_run(&r, 60);
	assert_chain("2 3 1-");
	assert_true(r.last_fenced == 1);
	chain_manager_disconnected(r.manager, 1, r.now_ns);
	assert_false(chain_manager_harmless(r.manager, 1, r.now_ns));
	assert_true(chain_manager_probe(r.manager, r.now_ns, &server));
	assert_int_equal(server, 1);
	/* Somebody was asked before it had come for the last time. */
	chain_manager_refused(r.manager, 1, r.now_ns - 1);
	assert_false(chain_manager_harmless(r.manager, 1, r.now_ns));
	chain_manager_refused(r.manager, 1, r.now_ns);
	assert_true(chain_manager_harmless(r.manager, 1, r.now_ns));
	assert_false(chain_manager_probe(r.manager, r.now_ns + 1000 * MS, &server));
	end();
}

static void test_restarts_of_all_leave_all_in_sync(void **state)
{
	begin(3, 3, 1);
	for (uint32_t s = 0; s < 3; s++)
		assert_int_equal(rig_start(&r, s), 0);
	rig_run(&r, 100);
	assert_chain("1 2 3");
	assert_int_equal(r.chains[0].epoch, 3);
	for (uint32_t s = 0; s < 3; s++) {
		assert_int_equal(r.stored_life[s], 2);
		assert_true(rig_beat(&r, s, false));
	}
	end();
}

static void test_a_restart_voids_what_was_reported_of_the_syncing_member(void **state)
{
	uint64_t epoch;

	begin(3, 3, 1);
	r.catches_up = false;
	rig_kill(&r, 0);
	rig_run(&r, 100);
	rig_start(&r, 0);
	rig_run(&r, 100);
	assert_chain("2 3 1+");
	epoch = r.chains[0].epoch;
	rig_start(&r, 0);
	rig_caught_up(&r, 0, 1);
	rig_run(&r, 20);
	assert_chain("2 3 1+");
	assert_int_equal(r.chains[0].epoch, epoch + 1);
	end();
}

/* The tail that says it forgets with its process that it waits for the successor. */
static void test_what_a_dead_process_has_reported_is_void(void **state)
{
	for (int late = 0; late < 2; late++) {
		begin(2, 2, 1);
		r.catches_up = false;
		rig_kill(&r, 0);
		rig_run(&r, 100);
		rig_start(&r, 0);
		rig_run(&r, 100);
		assert_chain("2 1+");
		if (!late)
			rig_caught_up(&r, 0, 1);
		rig_start(&r, 1);
		if (late)
			rig_caught_up(&r, 0, 1);
		rig_run(&r, 1000);
		assert_chain("2 1+");
		assert_int_equal(r.stored_life[1], 2);
		rig_caught_up(&r, 0, 1);
		rig_run(&r, 100);
		assert_chain("2 1");
		end();
	}
}

/* Else it could come back in-sync when its disk works again, and nobody would remember. */
static void test_a_restart_with_a_failing_disk_is_a_restart(void **state)
{
	begin(2, 2, 1);
	r.catches_up = false;
	rig_lose(&r, 1);
	rig_run(&r, 1200); /* quiet */
	r.target[0].report.error = EIO;
	rig_start(&r, 0);
	rig_run(&r, 200);
	assert_chain("1 2");
	assert_int_equal(r.stored_life[0], 1);
	r.server[1].up = true; /* it was only slow */
	rig_beat(&r, 1, false);
	rig_run(&r, 100);
	assert_chain("2 1-");
	assert_int_equal(r.stored_life[0], 2);
	assert_true(rig_beat(&r, 0, false));
	end();
}

static void test_an_old_copy_of_a_disk_is_never_the_last(void **state)
{
	begin(2, 2, 1);
	r.catches_up = false;
	rig_kill(&r, 0);
	rig_run(&r, 100);
	rig_start(&r, 0);
	rig_run(&r, 100);
	assert_chain("2 1+");
	r.catches_up = true;
	rig_run(&r, 100);
	assert_chain("2 1");
	r.catches_up = false;
	/* As long as somebody else is there, it is made equal. */
	r.target[0].report.life = 1;
	assert_int_equal(rig_register(&r, 0), 0);
	rig_run(&r, 100);
	assert_chain("2 1+");
	assert_int_equal(r.stored_life[0], 1);
	/* The last one's may not come. */
	rig_kill(&r, 1);
	rig_run(&r, 100);
	r.target[1].report.life = 0;
	assert_int_equal(rig_register(&r, 1), -ESTALE);
	assert_chain("2 1+");
	/* Unless somebody says so. */
	assert_int_equal(chain_manager_accept_data_loss(r.manager, &r.map, 1, 0, 2), 0);
	assert_int_equal(rig_register(&r, 1), 0);
	r.catches_up = true;
	rig_run(&r, 5000);
	assert_chain("2 1");
	end();
}

static void set_chain_of_two(uint32_t p, uint32_t first, uint32_t second)
{
	r.chains[p].epoch++;
	r.chains[p].count = 2;
	r.chains[p].members[0] = (struct chain_member){first, MEMBER_IN_SYNC};
	r.chains[p].members[1] = (struct chain_member){second, MEMBER_IN_SYNC};
}

/* Two servers of two targets; the second server goes, then the first, whose first target comes back
 * old. */
static void one_of_two_comes_back_old(void)
{
	rig_init(&r, 2, 2, 2, 2);
	rig_all_up(&r);
	set_chain_of_two(0, 1, 3);
	set_chain_of_two(1, 2, 4);
	r.catches_up = false;
	rig_run(&r, 100);
	for (uint32_t t = 0; t < 2; t++)
		r.target[t].report.life = 5;
	assert_int_equal(rig_register(&r, 0), 0);
	rig_run(&r, 100);
	r.catches_up = true;
	rig_run(&r, 1000);
	assert_true(rig_whole(&r));
	set_chain_of_two(0, 1, 3);
	set_chain_of_two(1, 2, 4);
	r.catches_up = false;
	rig_kill(&r, 1);
	rig_run(&r, 100);
	assert_string_equal(rig_chain(&r, 0), "1 3-");
	assert_string_equal(rig_chain(&r, 1), "2 4-");
	rig_kill(&r, 0);
	rig_run(&r, 100);
	r.target[0].report.life = 4;
	r.target[1].report.life = 6;
	assert_int_equal(rig_register(&r, 0), 0);
	rig_run(&r, 4000);
}

static void test_an_old_copy_does_not_keep_the_disks_beside_it_away(void **state)
{
	uint64_t server = 0;

	one_of_two_comes_back_old();
	/* The good one goes on, and is the one to make others equal. */
	assert_int_equal(rig_start(&r, 1), 0);
	rig_run(&r, 4000);
	assert_string_equal(rig_chain(&r, 1), "2 4+");
	assert_string_equal(rig_chain(&r, 0), "1 3-");
	assert_false(chain_manager_holds(r.manager, 1, 1, r.now_ns));
	assert_true(chain_manager_holds(r.manager, 1, 2, r.now_ns));
	/* The old one waits for a word, and then is asked for. */
	assert_false(chain_manager_readmit(r.manager, &r.map, &server));
	assert_int_equal(chain_manager_accept_data_loss(r.manager, &r.map, 1, 0, 1), 0);
	assert_true(chain_manager_readmit(r.manager, &r.map, &server));
	assert_int_equal(server, 1);
	assert_false(chain_manager_readmit(r.manager, &r.map, &server));
	assert_int_equal(rig_register(&r, 0), 0);
	r.catches_up = true;
	rig_run(&r, 5000);
	assert_string_equal(rig_chain(&r, 0), "1 3");
	assert_string_equal(rig_chain(&r, 1), "2 4");
	end();
}

static void test_a_refused_disk_is_asked_for_when_it_is_not_the_last_any_more(void **state)
{
	uint64_t server = 0;

	one_of_two_comes_back_old();
	assert_int_equal(rig_start(&r, 1), 0);
	rig_run(&r, 1000);
	assert_false(chain_manager_readmit(r.manager, &r.map, &server));
	/* As an administrator does who lets the other one begin again. */
	set_chain_of_two(0, 3, 1);
	assert_true(chain_manager_readmit(r.manager, &r.map, &server));
	assert_int_equal(server, 1);
	end();
}

/* ---- the master's own start ---- */

static void restart_master(void)
{
	chain_manager_free(r.manager);
	r.manager = chain_manager_new(&r.options);
	for (uint32_t s = 0; s < r.map.server_count; s++) {
		r.server[s].connected = false;
		chain_manager_restore(r.manager, s + 1, r.now_ns);
	}
}

static void test_a_restarted_master_takes_nobody_out_early(void **state)
{
	begin(3, 3, 1);
	restart_master();
	rig_run(&r, 2000);
	assert_chain("1 2 3");
	rig_register(&r, 0);
	rig_run(&r, 300);
	assert_chain("1 2 3");
	rig_register(&r, 1);
	rig_register(&r, 2);
	rig_run(&r, 5000);
	assert_chain("1 2 3");
	assert_int_equal(r.chains[0].epoch, 2);
	end();
}

static void test_a_restarted_master_finds_out_who_is_gone(void **state)
{
	begin(3, 3, 1);
	r.catches_up = false;
	rig_kill(&r, 0);
	restart_master();
	rig_run(&r, 1000);
	assert_chain("1 2 3");
	rig_register(&r, 1);
	rig_register(&r, 2);
	rig_run(&r, 100);
	assert_chain("2 3 1-");
	end();
}

static void test_a_stopped_process_does_not_count(void **state)
{
	begin(3, 3, 1);
	r.now_ns += 60000 * MS;
	chain_manager_paused(r.manager, 60000 * MS);
	rig_run(&r, 1000);
	assert_chain("1 2 3");
	end();
}

/* ---- administrators ---- */

static void test_data_loss_is_accepted_only_where_there_is_no_other_way(void **state)
{
	begin(3, 3, 1);
	assert_int_equal(chain_manager_accept_data_loss(r.manager, &r.map, 1, 0, 9), -ENOENT);
	assert_int_equal(chain_manager_accept_data_loss(r.manager, &r.map, 1, 0, 1), -EBUSY);
	rig_kill(&r, 0);
	rig_run(&r, 100);
	rig_lose(&r, 1);
	rig_lose(&r, 2);
	rig_run(&r, 10000);
	assert_chain("2 3 1-");
	assert_int_equal(chain_manager_accept_data_loss(r.manager, &r.map, 1, 0, 1), -EAGAIN);
	rig_start(&r, 0);
	rig_run(&r, 1000);
	assert_chain("2 3 1-");
	assert_int_equal(chain_manager_accept_data_loss(r.manager, &r.map, 1, 0, 1), 0);
	r.broken = NULL;
	rig_run(&r, 10);
	assert_chain("1 2- 3-");
	r.broken = NULL; /* this one rule is what the administrator breaks */
	end();
}

static void test_where_all_members_are_gone_any_target_may_begin(void **state)
{
	begin(4, 3, 1);
	r.broken = NULL;
	for (uint32_t s = 0; s < 3; s++) {
		assert_int_equal(chain_manager_accept_data_loss(r.manager, &r.map, 1, 0, 4),
				 -ENOENT);
		rig_lose(&r, s);
		rig_run(&r, 10000);
	}
	assert_int_equal(chain_manager_accept_data_loss(r.manager, &r.map, 1, 0, 4), 0);
	rig_run(&r, 100);
	assert_int_equal(r.chains[0].members[0].target_id, 4);
	assert_int_equal(r.chains[0].members[0].state, MEMBER_IN_SYNC);
	r.broken = NULL; /* by the administrator's word */
	end();
}

static void count_line(void *user, const char *line)
{
	(*(unsigned *)user)++;
	assert_true(line[0] != '\0');
}

static void test_the_status_tells_what_is(void **state)
{
	struct chain_manager_status status;
	unsigned lines = 0;

	begin(3, 3, 4);
	assert_int_equal(chain_manager_target_status(r.manager, &r.map, 9, r.now_ns, &status),
			 -ENOENT);
	assert_int_equal(chain_manager_target_status(r.manager, &r.map, 2, r.now_ns, &status), 0);
	assert_int_equal(status.partitions, 4);
	assert_int_equal(status.in_sync, 4);
	assert_int_equal(status.fair, 4);
	assert_int_equal(status.out_ns, 0);
	chain_manager_warnings(r.manager, &r.map, r.now_ns, count_line, &lines);
	assert_int_equal(lines, 0);
	rig_kill(&r, 1);
	rig_run(&r, 5000);
	assert_false(chain_manager_online(r.manager, 2, r.now_ns));
	assert_int_equal(chain_manager_target_status(r.manager, &r.map, 2, r.now_ns, &status), 0);
	assert_int_equal(status.in_sync, 0);
	assert_in_range(status.out_ns / MS, 4000, 5100);
	chain_manager_warnings(r.manager, &r.map, r.now_ns, count_line, &lines);
	assert_int_equal(lines, 1);
	end();
}

/* ---- anything ---- */

static void random_event(uint64_t *random)
{
	uint32_t s = (uint32_t)random_below(random, r.map.server_count);
	uint32_t t = (uint32_t)random_below(random, r.map.target_count);
	uint32_t p = (uint32_t)random_below(random, r.pool.partitions);

	switch (random_below(random, 14)) {
	case 0:
	case 1:
		rig_kill(&r, s);
		break;
	case 2:
		rig_lose(&r, s);
		break;
	case 3:
	case 4:
	case 5:
		if (!r.server[s].up)
			rig_start(&r, s);
		break;
	case 6:
		if (r.server[s].up) /* only the connection */
			rig_register(&r, s);
		break;
	case 7:
		rig_start(&r, s);
		break;
	case 8:
		rig_unfit(&r, p, t + 1);
		break;
	case 9:
		chain_manager_unreachable(r.manager, s + 1, t / 2 + 1, r.now_ns);
		break;
	case 10:
		r.target[t].report.error = random_below(random, 3) == 0 ? EIO : 0;
		break;
	case 11:
		r.target[t].report.full = random_below(random, 3) == 0;
		break;
	case 12:
		r.targets[t].draining = random_below(random, 4) == 0;
		break;
	case 13:
		if (random_below(random, 10) == 0)
			for (uint32_t i = 0; i < r.map.server_count; i++)
				rig_kill(&r, i);
		break;
	}
}

static void all_is_well(void)
{
	for (uint32_t t = 0; t < r.map.target_count; t++) {
		r.target[t].report.error = 0;
		r.target[t].report.full = false;
		r.targets[t].draining = false;
	}
	for (uint32_t s = 0; s < r.map.server_count; s++)
		if (!r.server[s].up)
			assert_int_equal(rig_start(&r, s), 0);
	r.catches_up = true;
}

static void test_nothing_breaks_whatever_happens(void **state)
{
	const char *text = getenv("SEED");
	uint64_t first = text == NULL ? 1 : strtoull(text, NULL, 0);

	for (uint64_t seed = first; seed < first + 12; seed++) {
		uint64_t random = seed;
		unsigned changes;

		rig_init(&r, 6, 2, 3, 24);
		rig_all_up(&r);
		for (int i = 0; i < 400 && r.broken == NULL; i++) {
			r.catches_up = random_below(&random, 2) == 0;
			random_event(&random);
			rig_run(&r,
				random_below(&random, 8) == 0 ? 4000 : random_below(&random, 400));
		}
		if (r.broken == NULL) {
			all_is_well();
			rig_run(&r, 120000);
		}
		if (r.broken != NULL || !rig_whole(&r))
			fail_msg("seed %llu: %s; %s", (unsigned long long)seed,
				 r.broken == NULL ? "not whole" : r.broken, rig_chain(&r, 0));
		for (uint32_t p = 0; p < r.pool.partitions; p++)
			for (uint32_t i = 0; i < 3; i++)
				for (uint32_t j = 0; j < i; j++)
					assert_int_not_equal(
						(r.chains[p].members[i].target_id - 1) / 2,
						(r.chains[p].members[j].target_id - 1) / 2);
		changes = r.changes;
		rig_run(&r, 5000);
		assert_int_equal(r.changes, changes);
		rig_end(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_killed_server_is_out_at_once_and_comes_back_behind),
		cmocka_unit_test(test_a_silent_server_is_out_when_its_lease_is_surely_over),
		cmocka_unit_test(test_deaths_of_all_leave_the_chains_as_they_were),
		cmocka_unit_test(test_the_last_one_stays_and_the_first_back_waits_for_it),
		cmocka_unit_test(test_the_first_back_of_several_waits_a_little_for_the_others),
		cmocka_unit_test(test_leaving_and_failing_disks_are_out),
		cmocka_unit_test(test_a_target_that_its_server_lost_is_out),
		cmocka_unit_test(test_a_restart_is_a_demotion_with_its_life_in_one_plan),
		cmocka_unit_test(test_a_refused_plan_is_made_anew),
		cmocka_unit_test(test_who_has_left_is_probed_as_long_as_it_may_have_a_lease),
		cmocka_unit_test(test_restarts_of_all_leave_all_in_sync),
		cmocka_unit_test(test_a_restart_voids_what_was_reported_of_the_syncing_member),
		cmocka_unit_test(test_what_a_dead_process_has_reported_is_void),
		cmocka_unit_test(test_a_restart_with_a_failing_disk_is_a_restart),
		cmocka_unit_test(test_an_old_copy_of_a_disk_is_never_the_last),
		cmocka_unit_test(test_an_old_copy_does_not_keep_the_disks_beside_it_away),
		cmocka_unit_test(test_a_refused_disk_is_asked_for_when_it_is_not_the_last_any_more),
		cmocka_unit_test(test_a_restarted_master_takes_nobody_out_early),
		cmocka_unit_test(test_a_restarted_master_finds_out_who_is_gone),
		cmocka_unit_test(test_a_stopped_process_does_not_count),
		cmocka_unit_test(test_data_loss_is_accepted_only_where_there_is_no_other_way),
		cmocka_unit_test(test_where_all_members_are_gone_any_target_may_begin),
		cmocka_unit_test(test_the_status_tells_what_is),
		cmocka_unit_test(test_nothing_breaks_whatever_happens),
	};

	return cmocka_run_group_tests_name("chain_manager", tests, NULL, NULL);
}
