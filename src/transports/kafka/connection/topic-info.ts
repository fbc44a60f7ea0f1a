export interface TopicInfo {
  readonly id: string
  /** By number: the broker that leads it, -1 if none does, and how many copies it has. */
  readonly partitions: readonly { readonly leader: number; readonly copies: number }[]
}

interface AnsweredPartition {
  readonly partitionIndex: number
  readonly leaderId: number
  readonly replicaNodes: readonly number[]
}

/** What a broker has answered, in the order of the partitions. */
export function topicInfo(id: string, partitions: readonly AnsweredPartition[]): TopicInfo {
  const inOrder = partitions.toSorted((one, other) => one.partitionIndex - other.partitionIndex)
  return {
    id,
    partitions: inOrder.map(({ leaderId, replicaNodes }) => ({
      leader: leaderId,
      copies: replicaNodes.length,
    })),
  }
}

/** The numbers of the partitions that have a leader now. */
export function ledPartitions({ partitions }: TopicInfo): readonly number[] {
  return [...partitions.keys()].filter((number) => (partitions[number]?.leader ?? -1) >= 0)
}
