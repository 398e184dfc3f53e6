//! Everything at once: writers, drops, jobs and crashes in any order. Nothing acknowledged is lost, nothing is leaked.

use proptest::prelude::*;

use super::*;

/// What happens next.
#[derive(Clone, Debug)]
enum Move {
    /// A writer begins to write these blocks.
    Write(Vec<u64>),
    /// One of the acknowledged pieces of data is replaced or deleted.
    Drop(usize),
    /// A job begins.
    Job(Job),
    /// One of the tasks takes so many steps; which step of its effects comes first is chosen by the number.
    Steps { task: usize, steps: usize, choice: usize },
    /// Minutes pass.
    Pass(u64),
    /// The power fails.
    Crash,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let job = prop_oneof![3 => Just(Job::Queue), 1 => Just(Job::Orphans), 1 => Just(Job::Intents)];
    let one = prop_oneof![
        // Few blocks, so that writers, droppers and reapers meet at the same ones.
        4 => proptest::collection::vec(0_u64..4, 1..4).prop_map(Move::Write),
        4 => any::<usize>().prop_map(Move::Drop),
        4 => job.prop_map(Move::Job),
        12 => (any::<usize>(), 1_usize..8, 0_usize..8)
            .prop_map(|(task, steps, choice)| Move::Steps { task, steps, choice }),
        2 => (1_u64..90).prop_map(Move::Pass),
        1 => Just(Move::Crash),
    ];
    proptest::collection::vec(one, 1..60)
}

struct Play {
    world: World,
    tasks: Vec<(Running, Role)>,
    acknowledged: Vec<VersionId>,
    /// What was being written when the power failed.
    untold: BTreeSet<VersionId>,
    next: u64,
}

enum Role {
    Writer(VersionId, Arc<std::sync::OnceLock<bool>>),
    Job(Job),
}

/// As a handler of S3 writes data: intent, blocks, and the batch that names them.
async fn write(cx: Cx, view: Arc<View>, data: VersionId, blocks: Vec<Payload>) -> bool {
    let written = async {
        let intent =
            intent_row(HERE, data, IntentRow::Writing { boot: view.boot, node: view.node });
        commit(cx, &view, HERE, vec![intent]).await?;
        let mut window = crate::flow::Window::new(3);
        let mut offset = 0;
        for block in blocks {
            if window.is_full() {
                window.next().await.expect("full")?;
            }
            let rows = vec![list_row(HERE, data, offset, &block), ref_row(data, &block)];
            offset += u64::from(block.len());
            let then = Batch::new(cx.now().wall, rows);
            window.push(Box::pin(quorum::store_block(cx, &view, block, then)));
        }
        while let Some(stored) = window.next().await {
            stored?;
        }
        commit(cx, &view, HERE, vec![intent_row(HERE, data, IntentRow::Done)]).await
    };
    Result::<(), PeerError>::is_ok(&written.await)
}

impl Play {
    fn make(&mut self, next: &Move) {
        match next {
            Move::Write(numbers) => {
                self.next += 1;
                let data = id(self.next);
                let blocks: Vec<Payload> = numbers.iter().map(|n| block(*n)).collect();
                let (view, seed) = (self.world.view(), self.world.seed.child());
                let done = Arc::new(std::sync::OnceLock::new());
                let slot = Arc::clone(&done);
                let task = Task::new("writer", seed, |cx| async move {
                    slot.set(write(cx, view, data, blocks).await).expect("once");
                });
                let running = self.world.start(task);
                self.tasks.push((running, Role::Writer(data, done)));
            }
            Move::Drop(which) => {
                if !self.acknowledged.is_empty() {
                    let data = self.acknowledged.swap_remove(which % self.acknowledged.len());
                    self.world.apply_ops(vec![drop_data_op(self.world.now.wall, data)]);
                }
            }
            Move::Job(job) => {
                // One of a kind at a time, as the node has it.
                let same = |role: &Role| matches!(role, Role::Job(other) if other == job);
                if !self.tasks.iter().any(|(_, role)| same(role)) {
                    let seed = self.world.seed.child();
                    let (task, _) = job.task(self.world.view(), seed);
                    let running = self.world.start(task);
                    self.tasks.push((running, Role::Job(*job)));
                }
            }
            Move::Steps { task, steps, choice } => {
                if !self.tasks.is_empty() {
                    let index = task % self.tasks.len();
                    self.steps(index, *steps, *choice);
                }
            }
            Move::Pass(minutes) => self.world.pass(Duration::from_secs(60 * minutes)),
            Move::Crash => self.crash(),
        }
        self.world.check();
        self.check();
    }

    fn crash(&mut self) {
        for (_, role) in self.tasks.drain(..) {
            if let Role::Writer(data, _) = role {
                self.untold.insert(data);
            }
        }
        self.world.crash();
    }

    fn steps(&mut self, index: usize, steps: usize, choice: usize) {
        let (running, role) = &mut self.tasks[index];
        for _ in 0..steps {
            if running.task.is_done() {
                break;
            }
            self.world.step(running, choice);
        }
        if running.task.is_done() {
            if let Role::Writer(data, done) = role
                && done.get() == Some(&true)
            {
                self.acknowledged.push(*data);
            }
            self.tasks.swap_remove(index);
        }
    }

    /// Everything acknowledged has its rows.
    fn check(&self) {
        for data in &self.acknowledged {
            let first = key::block_list(HERE, *data, 0);
            let row = self.world.store.get(Table::BlockList, &first).unwrap();
            assert!(row.is_some(), "{data:?} was acknowledged");
        }
    }

    /// Lets all come to an end, and sees that what is left is what is needed.
    fn finish(mut self) {
        self.crash();
        self.world.settle();
        self.world.check();
        self.check();
        let wanted: BTreeSet<VersionId> = self.acknowledged.iter().copied().collect();
        let listed = self.world.store.rows(Table::BlockList);
        let listed: BTreeSet<VersionId> =
            listed.map(|(key, _)| VersionId::from_slice(&key[2..18]).unwrap()).collect();
        // The last batch of a writer may be committed and nobody be told: then its data stays, closed and not acknowledged.
        let extra: BTreeSet<VersionId> = listed.difference(&wanted).copied().collect();
        assert!(listed.is_superset(&wanted) && extra.is_subset(&self.untold), "{extra:?}");
        let rows = self.world.store.rows(Table::BlockRef).map(|(key, _)| key.split_at(32));
        let (blocks, data): (BTreeSet<Hash>, BTreeSet<VersionId>) = rows
            .map(|(hash, data)| {
                (Hash::from_slice(hash).unwrap(), VersionId::from_slice(data).unwrap())
            })
            .unzip();
        assert_eq!((self.world.on_disk(), listed), (blocks, data));
        assert_eq!(self.world.count(Table::BlockCount), self.world.on_disk().len());
        assert_eq!((self.world.count(Table::Queue), self.world.count(Table::Intent)), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_is_leaked(moves in moves(), seed in any::<u8>()) {
        let mut play = Play {
            world: World::new(seed),
            tasks: Vec::new(),
            acknowledged: Vec::new(),
            untold: BTreeSet::new(),
            next: 0,
        };
        moves.iter().for_each(|next| play.make(next));
        play.finish();
    }
}
