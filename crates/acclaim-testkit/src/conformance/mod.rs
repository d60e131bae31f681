//! One suite for every engine: what the port promises, case by case.
//!
//! An engine's tests implement [`Harness`] and write
//! `acclaim_testkit::conformance_suite!(MyHarness);`, which makes every case a test of its own.
//! Each case runs the engine and the reference model side by side through a [`Stage`], compares
//! every answer, and ends with a comparison of all that can be read and a clean check.
//!
//! Cases may assume nothing about how an engine stores; they know the port alone.

use std::sync::Arc;

use acclaim_core::model::Partitions;
use acclaim_core::{Engine, Kinds};
use async_trait::async_trait;

use crate::ManualClock;

pub mod compare;
mod stage;
mod words;

pub mod clock;
pub mod counts;
pub mod daily;
pub mod exclusion;
pub mod export;
pub mod idempotency;
pub mod ids;
pub mod import_jobs;
pub mod imports;
pub mod jobs;
pub mod journal;
pub mod lists;
pub mod paging;
pub mod ranking;
pub mod social;
pub mod transitions;

pub use stage::Stage;
pub use words::*;

/// How an engine ends before it is opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is stopped and ends what is under way.
    Clean,
    /// It goes as in a crash: what was acknowledged is all that counts. An engine with a directory
    /// may open a copy of that directory, taken while it runs.
    Crash,
}

/// Gives the suite engines of one sort.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Opens a new, empty engine that takes its time from `clock`.
    async fn open(kinds: Kinds, clock: Arc<ManualClock>) -> Self
    where
        Self: Sized;

    /// The engine that is open now. The suite keeps no clone of it across [`Harness::reopen`].
    /// Where several nodes serve one store, each call may give another of them.
    fn engine(&self) -> Arc<dyn Engine>;

    /// Into which partitions the engine cuts its store. The model is cut alike, since each
    /// partition gives revs of its own.
    fn partitions(&self) -> Partitions {
        Partitions::one()
    }

    /// Returns once everything that was acknowledged is in all that follows from it: rankings,
    /// days, exports. An engine that writes it all at once has nothing to wait for.
    async fn settle(&self) {}

    /// Ends the engine and opens it again with the same kinds, clock and data. `false` says that
    /// this sort of engine cannot; the case then goes on with the one it has.
    async fn reopen(&mut self, ending: Ending) -> bool {
        let _ = ending;
        false
    }
}

/// Makes every case of the suite a test for the given [`Harness`].
#[macro_export]
macro_rules! conformance_suite {
    ($harness:ty) => {
        $crate::conformance_suite! { $harness;
            transitions {
                setting_is_idempotent, unsetting_what_never_was, toggles_alternate,
                a_write_decides_its_ops_in_order, one_edge_many_times_in_one_write,
                the_largest_write, kinds_do_not_touch_each_other, an_empty_write,
                transitions_outlive_reopening,
            }
            exclusion {
                a_set_unsets_the_other, a_toggle_on_unsets_the_other, an_unset_leaves_the_other,
                three_kinds_exclude_each_other, a_set_that_changes_nothing_excludes_nothing,
                exclusion_is_per_user, an_older_import_gives_way_to_the_other,
                a_newer_import_unsets_the_other,
            }
            imports {
                an_import_keeps_its_time, an_import_is_idempotent, an_import_gives_way,
                an_import_after_an_unset, a_toggle_after_an_import, a_large_import,
            }
            import_jobs {
                a_job_does_what_a_stream_does, the_same_text_again, csv_with_defaults,
                an_empty_text, an_unusable_header, a_text_that_is_given_up,
                import_jobs_outlive_reopening,
            }
            idempotency {
                a_repeat_gets_the_first_answer, a_repeat_does_nothing_later,
                another_request_under_the_key, every_op_is_answered_again,
                an_unchanging_write_is_remembered, keys_end_after_a_day, answers_outlive_reopening,
                many_keys, repeats_at_once_apply_once,
            }
            counts {
                counts_of_what_never_was, counts_follow_edges, many_counts_in_order,
                counts_outlive_reopening, a_hot_target,
            }
            lists {
                newest_first_both_ways, empty_lists, a_set_again_moves_to_the_top,
                ties_are_ordered_by_key, ties_across_types, offsets, the_type_filter,
                an_old_import_takes_its_place,
            }
            paging {
                every_page_size, a_position_that_is_gone, changes_while_paging_users,
                changes_while_paging_targets, imports_while_paging, a_user_with_700_edges,
                a_user_with_5200_edges, a_target_with_5200_edges, removed_and_added_again,
                long_lists_with_a_type_filter, long_lists_outlive_reopening,
            }
            social {
                numbers_count_both_ways, mutual_comes_and_goes, mutual_needs_both,
                mutual_in_pages, oneself, common_targets, relationships_in_order, known_users,
                known_looks_at_the_newest_thousand, a_heavy_user_among_others,
                numbers_outlive_reopening,
            }
            ranking {
                the_score_is_the_net, equal_scores_by_id, windows_move_on,
                unsets_leave_the_window, nothing_below_one, imports_count_where_they_were,
                kinds_and_types_apart, over_a_thousand_targets, overtaking,
                ranking_outlives_reopening, the_top_of_a_long_ranking_falls,
            }
            daily {
                sets_unsets_and_users, users_are_distinct_across_types, days_without_anything,
                imports_count_on_their_day, every_other_day, a_year_of_days,
                an_erased_user_is_counted_once, daily_outlives_reopening,
            }
            journal {
                events_in_order, resuming, the_other_kind_comes_first, unchanged_is_silent,
                an_import_keeps_its_rev, passing, the_fold_is_the_state, journal_outlives_reopening,
            }
            export {
                pages_are_whole, only_active_edges, an_export_imports_again,
                export_while_writing,
            }
            jobs {
                recovering_a_sound_target, recovering_a_kind, erasing_a_user, erasing_a_target,
                erasing_a_heavy_user, erasing_nobody, an_erased_user_may_come_back,
                jobs_outlive_reopening, unknown_jobs, audit_entries, a_clean_check,
            }
            ids {
                numbers_and_texts_are_apart, the_longest_ids, the_largest_numbers,
                ids_that_look_like_separators, every_order_of_ids, many_target_types,
            }
            clock {
                set_back, standing_still, set_back_over_reopening, set_far_ahead,
            }
        }
    };
    ($harness:ty; $($subject:ident { $($case:ident),* $(,)? })*) => {
        $(mod $subject {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let stage = $crate::conformance::Stage::open::<$harness>().await;
                    $crate::conformance::$subject::$case(stage).await;
                }
            )*
        })*
    };
}
