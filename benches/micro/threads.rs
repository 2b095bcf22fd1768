//! The mailbox between two threads that sleep and are woken: a round trip. Only its wall time is meaningful.

use std::sync::Arc;
use std::thread;

use criterion::Criterion;
use tidegate_engine::bench_support::Mailbox;

/// Message that ends the other thread.
const END: u64 = u64::MAX;

pub fn hand_over(c: &mut Criterion) {
    let here = thread::current();
    let answers = Arc::new(Mailbox::new(move || here.unpark()));
    let (sender, receiver) = std::sync::mpsc::channel::<Arc<Mailbox<u64>>>();
    let echo = {
        let answers = Arc::clone(&answers);
        thread::spawn(move || {
            let woken = thread::current();
            let questions = Arc::new(Mailbox::new(move || woken.unpark()));
            if sender.send(Arc::clone(&questions)).is_ok() {
                answer(&questions, &answers);
            }
        })
    };
    let questions = receiver.recv().expect("the other thread sends its mailbox");
    let mut taken = Vec::new();
    c.bench_function("mailbox/round_trip_between_threads", |b| {
        b.iter(|| {
            questions.post(1);
            wait(&answers, &mut taken);
            assert_eq!(taken, [1], "every question is answered once");
        });
    });
    questions.post(END);
    echo.join().expect("the other thread does not panic");
}

fn answer(questions: &Mailbox<u64>, answers: &Mailbox<u64>) {
    let mut taken = Vec::new();
    loop {
        wait(questions, &mut taken);
        for &question in &taken {
            if question == END {
                return;
            }
            answers.post(question);
        }
    }
}

/// Takes the queued items. Sleeps until there are some.
fn wait(mailbox: &Mailbox<u64>, taken: &mut Vec<u64>) {
    taken.clear();
    loop {
        mailbox.take(taken);
        if !taken.is_empty() {
            return;
        }
        mailbox.announce_sleep();
        if mailbox.is_empty() {
            thread::park();
        }
        mailbox.awake();
    }
}
