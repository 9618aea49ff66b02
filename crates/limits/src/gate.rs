//! Who is worked for when there is more to do than can be done at once: fair shares between parties.
//!
//! A request runs in a slot. Who finds none free waits, not for long; the next free slot is given to the
//! party (a company, say) that has the fewest, so that one that sends many requests waits for itself. When
//! too many wait, it is they who are sent away.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Gauge, Histogram, gauge, histogram};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// How many are let in.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// At once.
    pub slots: usize,
    /// Of one party at once.
    pub of_one: usize,
    /// Who wait at once.
    pub queue: usize,
    /// Longest wait.
    pub patience: Duration,
}

impl Size {
    /// With so many slots, and what follows from that: half of them for one party, and a queue that is worked
    /// off in a fraction of a second.
    pub fn of(slots: usize, patience: Duration) -> Size {
        Size {
            slots,
            of_one: slots.div_ceil(2),
            queue: slots * 32,
            patience,
        }
    }
}

/// Why a request was sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its own party asks for more than its share.
    Greedy,
    /// Everybody together asks for more than there is.
    Full,
}

/// The slots. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Shared>);

struct Shared {
    size: Size,
    state: Mutex<State>,
    waiting: Gauge,
    waited: Histogram,
}

#[derive(Default)]
struct State {
    running: usize,
    waiting: usize,
    /// Those who run or wait.
    parties: HashMap<u128, Party>,
    /// Those who wait, each once: who was served last stands last.
    turns: VecDeque<u128>,
    /// Names those who wait.
    tickets: u64,
}

#[derive(Default)]
struct Party {
    running: usize,
    waiting: VecDeque<(u64, oneshot::Sender<Permit>)>,
}

/// A slot, until it is dropped.
pub struct Permit {
    /// None once the slot has been given back.
    gate: Option<Gate>,
    party: u128,
}

/// Somebody who waits; gone from the queue when dropped.
struct Place<'g> {
    gate: &'g Gate,
    party: u128,
    ticket: u64,
}

impl Gate {
    /// A gate of this size; `name` is for the metrics.
    pub fn new(name: &'static str, size: Size) -> Gate {
        Gate(Arc::new(Shared {
            size,
            state: Mutex::default(),
            waiting: gauge!("ally360_requests_waiting", "gate" => name),
            waited: histogram!("ally360_request_wait_seconds", "gate" => name),
        }))
    }

    /// A slot for a request of this party, as soon as it is its turn.
    ///
    /// # Errors
    /// When that takes too long, or too many wait.
    pub async fn enter(&self, party: u128) -> Result<Permit, Refusal> {
        let (place, mine) = {
            let mut state = self.lock();
            if state.running < self.0.size.slots && state.may_run(party, self.0.size.of_one) {
                return Ok(self.start(&mut state, party));
            }
            if state.waiting >= self.0.size.queue {
                state.push_out_for(party)?;
            }
            let (ticket, mine) = state.queue(party);
            self.0.waiting.set(state.waiting as f64);
            let place = Place {
                gate: self,
                party,
                ticket,
            };
            (place, mine)
        };
        let began = Instant::now();
        let outcome = timeout(self.0.size.patience, mine).await;
        self.0.waited.record(began.elapsed());
        let is_greedy = self.lock().is_greedy(party);
        drop(place);
        match outcome {
            Ok(Ok(permit)) => Ok(permit),
            // Pushed out.
            Ok(Err(_)) => Err(Refusal::Greedy),
            Err(_) if is_greedy => Err(Refusal::Greedy),
            Err(_) => Err(Refusal::Full),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, state: &mut State, party: u128) -> Permit {
        state.running += 1;
        state.parties.entry(party).or_default().running += 1;
        Permit {
            gate: Some(self.clone()),
            party,
        }
    }

    /// Gives free slots to who wait.
    fn hand_out(&self, state: &mut State) {
        while state.running < self.0.size.slots {
            let Some((party, waiter)) = state.next(self.0.size.of_one) else {
                break;
            };
            let permit = self.start(state, party);
            if let Err(mut permit) = waiter.send(permit) {
                // Gone meanwhile. The lock is held: it cannot be given back by dropping it.
                permit.gate = None;
                state.end(party);
            }
        }
        self.0.waiting.set(state.waiting as f64);
    }
}

impl State {
    /// Whether a request may run without waiting: none of its own waits before it.
    fn may_run(&self, party: u128, of_one: usize) -> bool {
        let Some(party) = self.parties.get(&party) else {
            return true;
        };
        party.running < of_one && party.waiting.is_empty()
    }

    fn queue(&mut self, party: u128) -> (u64, oneshot::Receiver<Permit>) {
        self.tickets += 1;
        self.waiting += 1;
        let (waiter, mine) = oneshot::channel();
        let queue = &mut self.parties.entry(party).or_default().waiting;
        if queue.is_empty() {
            self.turns.push_back(party);
        }
        queue.push_back((self.tickets, waiter));
        (self.tickets, mine)
    }

    /// Whose turn it is: of those who may have one more, who has the fewest, and of these, who has waited
    /// longest for a turn.
    fn next(&mut self, of_one: usize) -> Option<(u128, oneshot::Sender<Permit>)> {
        let running = |party: &u128| self.parties.get(party).map_or(0, |party| party.running);
        let all = self.turns.iter().map(running).enumerate();
        let (turn, _) = all
            .filter(|(_, running)| *running < of_one)
            .min_by_key(|(_, running)| *running)?;
        let party = self.turns.remove(turn)?;
        let queue = &mut self.parties.get_mut(&party)?.waiting;
        let (_, waiter) = queue.pop_front()?;
        if !queue.is_empty() {
            self.turns.push_back(party);
        }
        self.waiting -= 1;
        Some((party, waiter))
    }

    /// Makes room in the queue at the cost of the party that has most there, unless that is this one.
    fn push_out_for(&mut self, party: u128) -> Result<(), Refusal> {
        let waiting = |party: &u128| self.parties.get(party).map_or(0, |party| party.waiting.len());
        let longest = self.turns.iter().copied().max_by_key(waiting);
        let longest = longest.ok_or(Refusal::Full)?;
        if waiting(&longest) <= waiting(&party) + 1 {
            return Err(if waiting(&party) > 1 {
                Refusal::Greedy
            } else {
                Refusal::Full
            });
        }
        // The one that came last; dropping the sender tells it.
        let last = self
            .parties
            .get_mut(&longest)
            .and_then(|party| party.waiting.pop_back());
        self.waiting -= usize::from(last.is_some());
        Ok(())
    }

    /// Whether a party has or wants more than others who wait.
    fn is_greedy(&self, party: u128) -> bool {
        let all = |party: &Party| party.running + party.waiting.len();
        let mine = self.parties.get(&party).map_or(0, all);
        let everybody: usize = self.parties.values().map(all).sum();
        mine * self.parties.len() > everybody * 2 || self.parties.len() == 1
    }

    fn leave(&mut self, party: u128, ticket: u64) {
        let Some(entry) = self.parties.get_mut(&party) else {
            return;
        };
        let before = entry.waiting.len();
        entry.waiting.retain(|(other, _)| *other != ticket);
        self.waiting -= before - entry.waiting.len();
        if before > 0 && entry.waiting.is_empty() {
            self.turns.retain(|other| *other != party);
        }
        self.forget(party);
    }

    fn end(&mut self, party: u128) {
        self.running -= 1;
        if let Some(entry) = self.parties.get_mut(&party) {
            entry.running -= 1;
        }
        self.forget(party);
    }

    fn forget(&mut self, party: u128) {
        let is_idle = |party: &Party| party.running == 0 && party.waiting.is_empty();
        if self.parties.get(&party).is_some_and(is_idle) {
            self.parties.remove(&party);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            let mut state = gate.lock();
            state.end(self.party);
            gate.hand_out(&mut state);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.leave(self.party, self.ticket);
        self.gate.0.waiting.set(state.waiting as f64);
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use tokio::task::{JoinHandle, JoinSet};
    use tokio::time::sleep;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn gate(slots: usize, of_one: usize, queue: usize, patience: Duration) -> Gate {
        let size = Size {
            slots,
            of_one,
            queue,
            patience,
        };
        Gate::new("test", size)
    }

    async fn now(gate: &Gate, party: u128) -> Permit {
        let entered = timeout(Duration::from_secs(20), gate.enter(party)).await;
        entered.expect("no wait").expect("a slot")
    }

    /// Somebody who waits already when this returns.
    async fn waits(gate: &Gate, party: u128) -> JoinHandle<Result<Permit, Refusal>> {
        let before = gate.lock().waiting;
        let gate_of_it = gate.clone();
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        let task = tokio::spawn(async move { gate_of_it.enter(party).await });
        while gate.lock().waiting == before {
            sleep(Duration::from_millis(1)).await;
        }
        task
    }

    fn is_empty(gate: &Gate) -> bool {
        let state = gate.lock();
        state.running == 0 && state.waiting == 0 && state.parties.is_empty() && state.turns.is_empty()
    }

    #[tokio::test]
    async fn one_party_leaves_room_for_others() {
        let gate = gate(4, 2, 100, LONG);
        let _two = [now(&gate, 1).await, now(&gate, 1).await];
        let third = waits(&gate, 1).await;
        let _others = [now(&gate, 2).await, now(&gate, 3).await];
        third.abort();
        while !gate.lock().turns.is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(gate.lock().running, 4);
    }

    #[tokio::test]
    async fn a_free_slot_is_for_who_has_fewest() {
        let gate = gate(3, 3, 100, LONG);
        let mut flood = vec![now(&gate, 1).await, now(&gate, 1).await, now(&gate, 1).await];
        let mut waiting = Vec::new();
        for _ in 0..20 {
            waiting.push(waits(&gate, 1).await);
        }
        let (second, third) = (waits(&gate, 2).await, waits(&gate, 3).await);
        flood.truncate(1);
        let _served = [
            second.await.expect("no panic").expect("a slot"),
            third.await.expect("no panic").expect("a slot"),
        ];
        assert!(waiting.iter().all(|task| !task.is_finished()));
    }

    #[tokio::test]
    async fn equals_take_turns() {
        let gate = gate(1, 1, 100, LONG);
        let first = now(&gate, 9).await;
        let mut waiting = JoinSet::new();
        for party in [1, 1, 1, 2, 2, 3] {
            let before = gate.lock().waiting;
            let gate_of_it = gate.clone();
            waiting.spawn(async move { gate_of_it.enter(party).await.map(|permit| permit.party) });
            while gate.lock().waiting == before {
                sleep(Duration::from_millis(1)).await;
            }
        }
        drop(first);
        let mut order = Vec::new();
        while let Some(served) = waiting.join_next().await {
            order.push(served.expect("no panic").expect("a slot"));
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 1]);
        assert!(is_empty(&gate));
    }

    #[tokio::test]
    async fn who_fills_the_queue_makes_room_for_who_does_not() {
        let gate = gate(1, 1, 4, LONG);
        let _slot = now(&gate, 1).await;
        let mut flood = Vec::new();
        for _ in 0..4 {
            flood.push(waits(&gate, 1).await);
        }
        assert_eq!(
            gate.enter(1).await.err(),
            Some(Refusal::Greedy),
            "no room for more of it"
        );
        let gate_of_it = gate.clone();
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        let other = tokio::spawn(async move { gate_of_it.enter(2).await });
        // The last of the flood.
        let pushed_out = flood.pop().expect("one").await.expect("no panic");
        assert_eq!(pushed_out.err(), Some(Refusal::Greedy));
        assert!(!other.is_finished());
        assert_eq!(gate.lock().waiting, 4);
    }

    #[tokio::test]
    async fn the_wait_is_bounded() {
        let gate = gate(1, 1, 100, Duration::from_millis(50));
        let slot = now(&gate, 1).await;
        let mut many = JoinSet::new();
        for party in 1..20 {
            let gate = gate.clone();
            many.spawn(async move { gate.enter(party).await.map(drop) });
        }
        let outcomes = timeout(Duration::from_secs(20), many.join_all())
            .await
            .expect("bounded");
        assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
        drop(slot);
        assert!(is_empty(&gate));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn whoever_comes_and_goes_the_slots_are_kept_and_come_back() {
        let gate = gate(5, 3, 40, Duration::from_millis(20));
        let mut many = JoinSet::new();
        for seed in 0..400_u64 {
            let gate = gate.clone();
            many.spawn(async move {
                let mut random = StdRng::seed_from_u64(seed);
                for _ in 0..25 {
                    let party = random.random_range(1..8);
                    let leaves = Duration::from_micros(random.random_range(0..3000));
                    // Leaves while it waits, or while it works.
                    let work = async {
                        let _slot = gate.enter(party).await;
                        {
                            let state = gate.lock();
                            assert!(state.running <= 5 && state.waiting <= 40);
                            assert!(state.parties.values().all(|party| party.running <= 3));
                        }
                        sleep(Duration::from_millis(1)).await;
                    };
                    let _ = timeout(leaves, work).await;
                }
            });
        }
        many.join_all().await;
        assert!(is_empty(&gate));
    }
}
