//! Pools of workers with little or no work.

use std::{sync::Arc, time::Duration};

use rtops_agent::Track;
use tokio::{
    sync::{
        mpsc::{self, Receiver, Sender},
        oneshot,
    },
    time::{interval, sleep},
};

use crate::locks::Mutex;

const WORKERS: usize = 6;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Workers with a queue each; all queues are empty.
pub(crate) fn idle() {
    let queues = pool();
    dispatch(queues, HOUR, 0);
}

/// The same, but two of the workers get jobs.
pub(crate) fn partly_busy() {
    let queues = pool();
    dispatch(queues, Duration::from_millis(30), 2);
}

fn pool() -> Vec<Sender<u64>> {
    let worker = |number| {
        let (queue, jobs) = mpsc::channel(8);
        tokio::spawn(work(jobs).tracked(format!("worker {number}")));
        queue
    };
    (1..=WORKERS).map(worker).collect()
}

async fn work(mut jobs: Receiver<u64>) {
    while let Some(job) = jobs.recv().await {
        sleep(Duration::from_millis(job)).await;
    }
}

/// Gives a job to each of the first workers from time to time.
fn dispatch(queues: Vec<Sender<u64>>, every: Duration, workers: usize) {
    let dispatch = async move {
        let mut due = interval(every);
        loop {
            due.tick().await;
            for queue in queues.iter().take(workers) {
                queue.send(5).await.ok();
            }
        }
    };
    tokio::spawn(dispatch.tracked("dispatcher"));
}

/// Workers that share one queue behind a mutex. One waits for a job, the others for the mutex.
pub(crate) fn shared_queue() {
    let (queue, jobs) = mpsc::channel::<u64>(8);
    let jobs = Arc::new(Mutex::new(jobs));
    for number in 1..=WORKERS {
        let take_turns = take_turns(Arc::clone(&jobs));
        tokio::spawn(take_turns.tracked(format!("worker {number}")));
    }
    dispatch(vec![queue], HOUR, 0);
}

async fn take_turns(jobs: Arc<Mutex<Receiver<u64>>>) {
    loop {
        let Some(job) = jobs.lock().await.recv().await else {
            return;
        };
        sleep(Duration::from_millis(job)).await;
    }
}

/// A task that starts the workers of a service and then ends.
pub(crate) fn started_by_a_task() {
    let start = async { dispatch(pool(), HOUR, 0) };
    tokio::spawn(start.tracked("start"));
}

/// An actor that answers each question, and a task that asks now and then.
pub(crate) fn request_response() {
    let (ask, mut questions) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(4);
    let actor = async move {
        while let Some((question, answer)) = questions.recv().await {
            sleep(Duration::from_millis(250)).await;
            answer.send(question + 1).ok();
        }
    };
    tokio::spawn(actor.tracked("actor"));
    let asker = async move {
        let mut number = 0;
        loop {
            let (answer, answered) = oneshot::channel();
            ask.send((number, answer)).await.ok();
            number = answered.await.unwrap_or_default();
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::spawn(asker.tracked("asker"));
}
