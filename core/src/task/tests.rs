//! What a task does with its effects, its timers and its client.

use super::*;
use crate::{
    flow::{Either, either},
    node::pace::Waits,
};

const HERE: NodeId = NodeId([1; 32]);

fn task<F: Future<Output = ()> + Send + 'static>(flow: impl FnOnce(Cx) -> F) -> Task {
    let mut task = Task::new("test", Seed::new([0; 32]), flow);
    task.start(Now::default());
    task
}

fn at(nanos: u64) -> Now {
    Now { mono: Instant(nanos), ..Now::default() }
}

fn get(cx: Cx) -> Wait<Result<Answer, PeerError>> {
    cx.read(HERE, Read::Get(Vec::new()))
}

fn rows() -> Completion {
    Completion::Read(Ok(Answer::Values(Vec::new())))
}

#[test]
fn a_dropped_wait_cancels_its_effect_and_its_late_answer_is_ignored() {
    let mut task = task(|cx| async move {
        match either(get(cx), cx.sleep(Duration::from_nanos(5), Reason("patience"))).await {
            Either::Left(_) => panic!("nobody answered"),
            Either::Right(()) => cx.sleep(Duration::from_nanos(5), Reason("more")).await,
        }
    });
    let (id, effect) = task.poll_effect().expect("the read");
    assert!(matches!(effect, Effect::Read { .. }));
    assert_eq!(task.waiting_for(), [("Read", Instant(0))]);
    assert_eq!(task.poll_timeout(), Some((Instant(5), Reason("patience"))));
    task.handle_timeout(at(5));
    assert!(
        matches!(task.poll_effect(), Some((cancelled, Effect::Cancel(of))) if cancelled == of && of == id)
    );
    task.handle_event(at(6), id, rows());
    assert!(!task.is_done());
    task.handle_timeout(at(10));
    assert!(task.is_done());
    assert_eq!(task.poll_timeout(), None);
}

#[test]
fn timeouts_that_come_too_early_do_nothing() {
    let mut task = task(|cx| async move {
        cx.sleep(Duration::from_nanos(5), Reason("five")).await;
    });
    task.handle_timeout(at(4));
    assert!(!task.is_done());
    assert_eq!(task.poll_timeout(), Some((Instant(5), Reason("five"))));
}

#[test]
fn a_flow_learns_that_its_client_has_gone() {
    let mut task = task(|cx| async move {
        assert!(matches!(either(get(cx), cx.client_gone()).await, Either::Right(())));
    });
    assert!(task.poll_effect().is_some());
    task.handle_disconnect(at(1));
    assert!(task.is_done());
    assert!(matches!(task.poll_effect(), Some((_, Effect::Cancel(_)))));
}

#[test]
#[should_panic(expected = "not an effect")]
fn waiting_for_anything_but_an_effect_is_caught() {
    task(|_| std::future::pending());
}

#[test]
fn a_panic_in_one_task_leaves_the_thread_fit_for_the_next() {
    let bad = std::panic::catch_unwind(|| task(|_| async { panic!("on purpose") }));
    assert!(bad.is_err());
    let mut good = task(|cx| async move {
        assert!(get(cx).await.is_ok());
    });
    let (id, _) = good.poll_effect().expect("the read");
    good.handle_event(at(1), id, rows());
    assert!(good.is_done());
}

#[test]
fn the_same_seed_gives_the_same_ids() {
    let ids = || {
        let (send, receive) = std::sync::mpsc::channel();
        task(move |cx| async move {
            let sent = send.send([cx.version_past(Stamp(0)), cx.version_past(Stamp(9))]);
            sent.expect("the test listens");
        });
        receive.recv().expect("the task has run")
    };
    assert_eq!(ids(), ids());
    assert_eq!(ids()[1].stamp(), Stamp(10));
}

#[test]
fn tasks_may_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Task>();
}

/// Lets a task read for this long, for somebody or for nobody; what it tells of its waits until its end.
fn told(serves: bool, reads: &[u64]) -> Vec<(u64, Waits)> {
    let count = reads.len();
    let mut task = Task::new("test", Seed::new([0; 32]), |cx| async move {
        if serves {
            cx.serves(RequestId([1; 8]));
        }
        for _ in 0..count {
            get(cx).await.expect("rows");
        }
    });
    task = task.metered(HERE, Arc::default());
    let (mut now, mut told) = (0, Vec::new());
    task.start(at(now));
    let mut reads = reads.iter();
    while let Some((id, effect)) = task.poll_effect() {
        match effect {
            Effect::Read { .. } => {
                // A second look finds nothing more to tell.
                if let Some((_, Effect::Waited(waits))) = task.poll_effect() {
                    told.push((now, waits));
                }
                now += reads.next().expect("one for each read") * 1_000_000;
                task.handle_event(at(now), id, rows());
            }
            Effect::Waited(waits) => told.push((now, waits)),
            other => panic!("{other:?}"),
        }
    }
    assert!(task.is_done());
    told
}

#[test]
fn a_task_that_serves_somebody_tells_every_second_and_in_the_end_how_long_it_has_waited() {
    let sum = |reads: &[u64]| {
        let mut waits = Waits::default();
        for millis in reads {
            waits.add(Operation::Read, Duration::from_millis(*millis));
        }
        waits
    };
    let second = 1_000_000_000;
    let expected = vec![(second, sum(&[400, 600])), (second + second / 2, sum(&[500]))];
    assert_eq!(told(true, &[400, 600, 500]), expected);
    assert_eq!(told(true, &[]), []);
    assert_eq!(told(false, &[400, 600, 500]), []);
}
