//! A change and the rules → steps for the applier. Pure.

use std::{collections::HashMap, sync::Arc};

use freshline::{
    change::{DDL_PREFIX, Event, Operation, Relation, RowChange},
    coherence::{ETag, Entry, EntryId, Generation, Lsn, Proof, Tag},
    fault::Classified,
    rules::{Action, Missing, Rules, TablePlan, Unbound},
    telemetry::{
        names,
        trace::{self, SpanContext},
    },
};
use metrics::counter;
use tracing::{debug, warn};

use crate::transaction::{Effect, End, Step};

/// Plans changes. Remembers, for each table as the stream describes it, the rules bound to its columns.
#[derive(Debug)]
pub struct Planner {
    rules: Rules,
    tables: HashMap<u32, Bound>,
    tags: Vec<Tag>,
}

#[derive(Debug)]
struct Bound {
    relation: Arc<Relation>,
    plan: Plan,
}

#[derive(Debug, Clone)]
enum Plan {
    /// No rules: nothing cached depends on this table.
    Nothing,
    /// What its changes touch.
    Table(Arc<TablePlan>),
    /// What its changes touch cannot be told: each of them touches everything.
    Everything,
}

/// The row after a change, to be made into an entry where one is to be replaced.
#[derive(Debug)]
pub struct Image {
    table: Arc<TablePlan>,
    change: RowChange,
}

impl Image {
    /// How many bytes it keeps in memory.
    pub fn size(&self) -> usize {
        [&self.change.before, &self.change.after].into_iter().flatten().map(|row| row.size()).sum()
    }

    /// The entry: proven by the end of its commit, and never young, because it was read at no time.
    ///
    /// `None` where the change does not carry the whole row.
    pub fn entry(&self, generation: Generation, end: Lsn) -> Option<Vec<u8>> {
        let mut body = Vec::with_capacity(512);
        if let Err(missing) = self.table.image(&self.change, &mut body) {
            debug!(cause = %missing, "a changed row is removed and not replaced: {missing}");
            counter!(names::CHANGES_UNUSABLE, "reason" => "no-image").increment(1);
            return None;
        }
        let (id, etag, body) = (EntryId::random(), ETag::of(&body), Some(body.into()));
        Entry { id, generation, proof: Proof::Lsn(end), read_at: None, tags: Vec::new(), etag, body }.encode()
    }
}

impl Planner {
    /// A planner of these rules.
    pub fn new(rules: Rules) -> Self {
        Self { rules, tables: HashMap::new(), tags: Vec::new() }
    }

    /// Tells the steps of an event, in order.
    pub fn plan(&mut self, event: Event, step: &mut impl FnMut(Step)) {
        match event {
            Event::Begin { xid, committed_us, .. } => step(Step::Begin(xid, committed_us)),
            Event::Row(change) => self.row(change, step),
            Event::Truncate { relations } => {
                if relations.iter().any(|relation| !matches!(self.table(relation), Plan::Nothing)) {
                    step(Step::Bump);
                }
            }
            Event::Message { prefix, .. } if &*prefix == DDL_PREFIX => step(Step::Bump),
            Event::Message { prefix, content } if &*prefix == trace::PREFIX => {
                // What is no traceparent is somebody's mistake, and costs nothing but the link.
                if let Some(written_by) = trace::is_on().then(|| SpanContext::parse(&content)).flatten() {
                    step(Step::WrittenBy(written_by));
                }
            }
            Event::Message { .. } => {}
            Event::Commit { end, is_exact, place } => step(Step::Commit(End { lsn: end, is_exact, place })),
            Event::Reached { position, place } => step(Step::Reached(position, place)),
            Event::CaughtUp => step(Step::CaughtUp),
            Event::Hole { beginning } => step(Step::Hole(beginning)),
        }
    }

    fn row(&mut self, change: RowChange, step: &mut impl FnMut(Step)) {
        let table = match self.table(&change.relation) {
            Plan::Nothing => return,
            Plan::Everything => return step(Step::Bump),
            Plan::Table(table) => table,
        };
        if let Err(missing) = self.touch(&table, change, step) {
            counter!(names::CHANGES_UNUSABLE, "reason" => "no-name").increment(1);
            warn!(remedy = missing.remedy(), "{missing}: what it touches cannot be told, so everything is emptied");
            step(Step::Bump);
        }
    }

    fn touch(&mut self, table: &Arc<TablePlan>, change: RowChange, step: &mut impl FnMut(Step)) -> Result<(), Missing> {
        let keys = table.keys(&change)?;
        self.tags.clear();
        table.tags(&change, &mut self.tags)?;
        for tag in self.tags.drain(..) {
            step(Step::Touch(Effect::Tag(tag)));
        }
        if let Some(former) = keys.former {
            step(Step::Touch(Effect::Key(former, None)));
        }
        let is_replaced = table.action() == Action::Refresh && change.operation != Operation::Delete;
        let image = is_replaced.then(|| Arc::new(Image { table: table.clone(), change }));
        step(Step::Touch(Effect::Key(keys.row, image)));
        Ok(())
    }

    /// The rules bound to a table as the stream describes it now.
    fn table(&mut self, relation: &Arc<Relation>) -> Plan {
        if let Some(bound) = self.tables.get(&relation.id).filter(|bound| Arc::ptr_eq(&bound.relation, relation)) {
            return bound.plan.clone();
        }
        let plan = match self.rules.bind(relation) {
            Ok(None) => Plan::Nothing,
            Ok(Some(table)) => Plan::Table(Arc::new(table)),
            Err(unbound) => unusable(&unbound),
        };
        self.tables.insert(relation.id, Bound { relation: relation.clone(), plan: plan.clone() });
        plan
    }
}

fn unusable(unbound: &Unbound) -> Plan {
    warn!(remedy = unbound.remedy(), "{unbound}: each of its changes empties everything until this is mended");
    counter!(names::CHANGES_UNUSABLE, "reason" => "unbound").increment(1);
    Plan::Everything
}
