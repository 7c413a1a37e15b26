//! Assign: what the group gives and takes.
//!
//! Order: given: read the ledger, check what Kafka still has, then read from there. Taken: commit what is open within
//! a bound, then give up. Past the bound, or when partitions are lost, everything open is dropped, because a file
//! mixes partitions, and what is retained goes back to the ledger's positions.
//! Neighbours: pipeline, flush.

use ledger::entry::NextOffset;

use super::{Pipeline, Stop};
use crate::batch::seal::SealReason;
use crate::kafka::{Generation, Placement, TopicPartition};
use crate::settings::OnDataLoss;

impl Pipeline {
    pub(super) async fn on_assigned(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Stop> {
        self.refresh().await?;
        self.generation = Generation(self.generation.0 + 1);
        for partition in &partitions {
            let position = self.position(partition).await?;
            self.cursors.place(partition, position, self.generation);
            self.check_position(partition, position).await?;
        }
        let placements = partitions.iter().filter_map(|p| self.cursors.placement(p)).collect();
        self.source.assign(placements, self.generation).await?;
        self.report.assigned(&partitions, &self.cursors);
        Ok(())
    }

    /// The ledger's position. A partition that no entry names appeared after the open: it starts at its beginning.
    async fn position(&mut self, partition: &TopicPartition) -> Result<NextOffset, Stop> {
        match self.view.position(&partition.topic, partition.partition) {
            Some(position) => Ok(position),
            None => Ok(NextOffset(self.ends(partition).await?.log_start)),
        }
    }

    /// Kafka must still have what is due, and must have had what was read.
    async fn check_position(&mut self, partition: &TopicPartition, position: NextOffset) -> Result<(), Stop> {
        let ends = self.ends(partition).await?;
        self.cursors.observe(partition, ends);
        if position.0 > ends.last_stable {
            let (position, end) = (position.0, ends.last_stable);
            return Err(Stop::BehindLedger { partition: partition.to_string(), position, end });
        }
        if position.0 < ends.log_start {
            match self.rules.on_data_loss {
                OnDataLoss::Fail => {
                    let (wanted, oldest) = (position.0, ends.log_start);
                    return Err(Stop::DataLoss { partition: partition.to_string(), wanted, oldest });
                }
                OnDataLoss::Continue => {
                    let lost = self.cursors.skip_lost(partition, ends.log_start);
                    self.touch();
                    self.report.lost_records(partition, lost);
                }
            }
        }
        Ok(())
    }

    pub(super) async fn on_revoked(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Stop> {
        self.report.revoked(&partitions);
        self.flush(SealReason::Revoked, Some(self.rules.revoke_timeout)).await?;
        for partition in &partitions {
            self.cursors.remove(partition);
        }
        self.source.unassign(partitions).await?;
        self.report.assignment(&self.cursors);
        Ok(())
    }

    /// They may be another's already. Nothing of this batch can be committed without them.
    pub(super) async fn on_lost(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Stop> {
        self.report.partitions_lost(&partitions);
        for partition in &partitions {
            self.cursors.remove(partition);
        }
        self.source.unassign(partitions).await?;
        self.report.assignment(&self.cursors);
        self.drop_batch("partitions were lost").await
    }

    /// Retention passed the position while it was being read.
    pub(super) async fn on_out_of_range(
        &mut self,
        partition: TopicPartition,
        generation: Generation,
        reason: &str,
    ) -> Result<(), Stop> {
        let Some(placed) = self.cursors.placement(&partition) else { return Ok(()) };
        if generation < self.generation_of(&partition) {
            return Ok(());
        }
        tracing::warn!(%partition, offset = placed.offset.0, reason, "offset out of range");
        // What was read before belongs to the ranges before the hole.
        self.absorb_all().await?;
        self.check_position(&partition, placed.offset).await?;
        let placement = self.cursors.placement(&partition).into_iter().collect();
        self.generation = Generation(self.generation.0 + 1);
        self.cursors.renew(&partition, self.generation);
        self.source.reposition(placement, self.generation).await?;
        Ok(())
    }

    fn generation_of(&self, partition: &TopicPartition) -> Generation {
        self.cursors.generation(partition).unwrap_or_default()
    }

    /// Forgets everything open and goes back to the ledger's positions with what is retained.
    pub(super) async fn drop_batch(&mut self, reason: &str) -> Result<(), Stop> {
        self.report.batch_dropped(reason);
        self.decoding.clear();
        self.decoding_bytes = 0;
        if let Some(files) = self.files.as_mut() {
            files.clear();
        }
        self.sink.abandon();
        self.since_ms = None;
        self.refresh().await?;
        self.refuse_rejected()?;
        self.generation = Generation(self.generation.0 + 1);
        let retained: Vec<TopicPartition> = self.cursors.partitions().cloned().collect();
        let mut placements: Vec<Placement> = Vec::with_capacity(retained.len());
        for partition in retained {
            let position = self.position(&partition).await?;
            self.cursors.place(&partition, position, self.generation);
            placements.extend(self.cursors.placement(&partition));
        }
        if !placements.is_empty() {
            self.source.reposition(placements, self.generation).await?;
        }
        Ok(())
    }
}
