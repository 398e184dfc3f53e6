//! The few combinators that handlers need. They re-poll every child at each step, because the core polls with a no-op
//! waker: a wake-driven set (`FuturesUnordered`, `join_all`) would never look at its children again.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
};

/// The outcome of [`either`].
#[derive(Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first future was ready.
    Left(A),
    /// The second future was ready, the first was not.
    Right(B),
}

/// The first of two to be ready. Left-biased: the order is part of the program, not of the scheduler. The other one is
/// dropped, which cancels its effects.
pub async fn either<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| match a.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Either::Left(value)),
        Poll::Pending => b.as_mut().poll(cx).map(Either::Right),
    })
    .await
}

/// Both results, once both are ready.
pub async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut left, mut right) = (None, None);
    poll_fn(|cx| {
        if left.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(cx)
        {
            left = Some(value);
        }
        if right.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(cx)
        {
            right = Some(value);
        }
        match (left.take(), right.take()) {
            (Some(left), Some(right)) => Poll::Ready((left, right)),
            (l, r) => {
                (left, right) = (l, r);
                Poll::Pending
            }
        }
    })
    .await
}

/// How far a quorum has got. Pure, so that the explicit machines can count with it too.
#[derive(Debug, Clone)]
pub struct Quorum {
    need: usize,
    total: usize,
    ok: usize,
    failed: usize,
}

/// What one more answer did to a [`Quorum`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More answers are needed.
    Pending,
    /// Enough have agreed.
    Reached,
    /// Enough have failed that it can no longer be reached.
    Lost,
}

impl Quorum {
    /// `need` of `total` members must agree.
    pub fn new(total: usize, need: usize) -> Self {
        assert!(0 < need && need <= total, "a quorum of {need} out of {total}");
        Self { need, total, ok: 0, failed: 0 }
    }

    /// Counts one member's answer.
    pub fn on(&mut self, ok: bool) -> Progress {
        if ok {
            self.ok += 1;
        } else {
            self.failed += 1;
        }
        if self.ok >= self.need {
            Progress::Reached
        } else if self.total - self.failed < self.need {
            Progress::Lost
        } else {
            Progress::Pending
        }
    }
}

/// The first `need` successes among `calls`, in the order in which they came, or the error that made it impossible. The
/// calls still open are dropped, which cancels them.
pub async fn quorum<T, E, F>(calls: Vec<F>, need: usize) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>> + Unpin,
{
    let mut quorum = Quorum::new(calls.len(), need);
    let mut calls: Vec<Option<F>> = calls.into_iter().map(Some).collect();
    let mut answers = Vec::with_capacity(need);
    poll_fn(|cx| {
        for slot in &mut calls {
            let Some(call) = slot else { continue };
            let Poll::Ready(answer) = Pin::new(call).poll(cx) else { continue };
            *slot = None;
            let (progress, error) = match answer {
                Ok(answer) => {
                    answers.push(answer);
                    (quorum.on(true), None)
                }
                Err(error) => (quorum.on(false), Some(error)),
            };
            match (progress, error) {
                (Progress::Reached, _) => return Poll::Ready(Ok(std::mem::take(&mut answers))),
                (Progress::Lost, Some(error)) => return Poll::Ready(Err(error)),
                (Progress::Lost | Progress::Pending, _) => {}
            }
        }
        Poll::Pending
    })
    .await
}

/// A sliding window of futures that run side by side and give their results in order.
///
/// It bounds what a request keeps in flight: `max` is the bound, and [`Window::push`] may only be called when
/// [`Window::is_full`] is false.
pub struct Window<F: Future> {
    max: usize,
    open: VecDeque<Slot<F>>,
}

enum Slot<F: Future> {
    Running(Pin<Box<F>>),
    Ready(F::Output),
}

impl<F: Future> Window<F> {
    /// A window of at most `max` futures.
    pub fn new(max: usize) -> Self {
        assert!(max > 0, "a window of nothing never moves");
        Self { max, open: VecDeque::with_capacity(max) }
    }

    /// Whether a result must be taken before more may be added.
    pub fn is_full(&self) -> bool {
        self.open.len() >= self.max
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Adds a future behind the others.
    pub fn push(&mut self, future: F) {
        assert!(!self.is_full(), "the window is full");
        self.open.push_back(Slot::Running(Box::pin(future)));
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        for slot in &mut self.open {
            if let Slot::Running(future) = slot
                && let Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *slot = Slot::Ready(output);
            }
        }
    }

    /// The output of another future, while those of the window make progress. While a window is not empty nothing is awaited but by this
    /// or [`Window::next`]: a timer of one of its futures would come due and not be looked at.
    pub async fn during<G: Future>(&mut self, other: G) -> G::Output {
        let mut other = pin!(other);
        poll_fn(|cx| {
            self.advance(cx);
            other.as_mut().poll(cx)
        })
        .await
    }

    /// The result of the oldest future, once it is ready; the others make progress meanwhile. `None` if the window is
    /// empty.
    pub async fn next(&mut self) -> Option<F::Output> {
        poll_fn(|cx| {
            self.advance(cx);
            match self.open.pop_front() {
                None => Poll::Ready(None),
                Some(Slot::Ready(output)) => Poll::Ready(Some(output)),
                Some(running @ Slot::Running(_)) => {
                    self.open.push_front(running);
                    Poll::Pending
                }
            }
        })
        .await
    }
}

// `Running` futures are boxed and pinned on their own; the window itself may move.
impl<F: Future> Unpin for Window<F> {}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn either_prefers_the_left() {
        assert_eq!(now(either(async { 1 }, async { 2 })), Some(Either::Left(1)));
        let right = now(either(std::future::pending::<()>(), async { 2 }));
        assert_eq!(right, Some(Either::Right(2)));
    }

    #[test]
    fn join_waits_for_both() {
        assert_eq!(now(join(async { 1 }, async { 2 })), Some((1, 2)));
        assert_eq!(now(join(async { 1 }, std::future::pending::<()>())), None);
    }

    #[test]
    fn quorum_is_reached_or_lost_as_soon_as_that_is_known() {
        let calls = |answers: &[Result<u8, &'static str>]| {
            answers.iter().copied().map(std::future::ready).collect::<Vec<_>>()
        };
        assert_eq!(now(quorum(calls(&[Ok(1), Err("down"), Ok(3)]), 2)), Some(Ok(vec![1, 3])));
        assert_eq!(now(quorum(calls(&[Err("a"), Ok(2), Err("b")]), 2)), Some(Err("b")));
    }

    #[test]
    fn window_moves_on_during_another_wait() {
        let mut polled = 0;
        let mut window = Window::new(1);
        window.push(poll_fn(|_| {
            polled += 1;
            Poll::<()>::Pending
        }));
        assert_eq!(now(window.during(std::future::ready(7))), Some(7));
        drop(window);
        assert_eq!(polled, 1);
    }

    #[test]
    fn window_gives_results_in_order() {
        let mut window = Window::new(2);
        window.push(std::future::ready(1));
        window.push(std::future::ready(2));
        assert!(window.is_full());
        assert_eq!(now(window.next()), Some(Some(1)));
        window.push(std::future::ready(3));
        assert_eq!(now(window.next()), Some(Some(2)));
        assert_eq!(now(window.next()), Some(Some(3)));
        assert_eq!(now(window.next()), Some(None));
    }
}
