//! Tasks on one thread, in simulated time: which of those that can go on does so next is drawn, and time passes only when none
//! can.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::random::Random;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// When a timer ends, and which of those that end then it is.
type Timer = (u64, u64);

#[derive(Default)]
pub(crate) struct Executor {
    /// Milliseconds since the beginning; never goes back.
    now_ms: Cell<u64>,
    timers: RefCell<BTreeMap<Timer, Waker>>,
    timers_begun: Cell<u64>,
    spawned: RefCell<Vec<Task>>,
}

impl Executor {
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push(Box::pin(task));
    }

    pub(crate) fn sleep(self: &Rc<Self>, ms: u64) -> Sleep {
        let number = self.timers_begun.get();
        self.timers_begun.set(number + 1);
        Sleep { timer: (self.now_ms() + ms, number), executor: Rc::clone(self) }
    }

    /// Runs until all tasks are done. `passed` is told whenever time has passed. Returns how many wait for ever.
    pub(crate) fn run(&self, random: &Random, passed: impl Fn()) -> usize {
        let mut tasks: Vec<(Arc<Ready>, Task)> = Vec::new();
        loop {
            let spawned = self.spawned.borrow_mut().drain(..).collect::<Vec<_>>();
            tasks.extend(spawned.into_iter().map(|task| (Arc::new(Ready(AtomicBool::new(true))), task)));
            let ready: Vec<usize> = (0..tasks.len()).filter(|i| tasks[*i].0.is_set()).collect();
            if ready.is_empty() {
                let Some((timer, waker)) = self.timers.borrow_mut().pop_first() else { return tasks.len() };
                self.now_ms.set(timer.0);
                passed();
                waker.wake();
                continue;
            }
            let next = random.pick(&ready);
            let (ready, task) = &mut tasks[next];
            ready.0.store(false, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(ready));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                drop(tasks.swap_remove(next));
            }
        }
    }
}

/// Whether a task can go on.
struct Ready(AtomicBool);

impl Ready {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Ends when its time has come.
pub(crate) struct Sleep {
    timer: Timer,
    executor: Rc<Executor>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.executor.now_ms() >= self.timer.0 {
            return Poll::Ready(());
        }
        self.executor.timers.borrow_mut().insert(self.timer, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.executor.timers.borrow_mut().remove(&self.timer);
    }
}

/// What a future brings, or the future itself if it takes longer than `sleep`.
pub(crate) async fn within<T, F: Future<Output = T> + Unpin>(sleep: Sleep, future: F) -> Result<T, F> {
    let (mut sleep, mut future) = (sleep, Some(future));
    std::future::poll_fn(move |context| {
        let Some(running) = &mut future else { return Poll::Pending };
        if let Poll::Ready(value) = Pin::new(running).poll(context) {
            return Poll::Ready(Ok(value));
        }
        match Pin::new(&mut sleep).poll(context) {
            Poll::Ready(()) => future.take().map_or(Poll::Pending, |future| Poll::Ready(Err(future))),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
