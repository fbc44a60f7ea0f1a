import type { Own, Query } from './pool/pool.ts'
import { behind, type Numbered, place, remedyOf } from './sequence-errors.ts'

/**
 * What is known of the sequence of a column. Undefined where the role may not read it, or there is
 * no table.
 */
export interface SequenceState {
  readonly last: bigint
  readonly highest: bigint
  readonly cache: bigint
  readonly cycle: boolean
}

interface Row {
  readonly last: string | null
  readonly highest: string | null
  readonly cache: string
  readonly cycle: boolean
}

const look = (of: Numbered): string => `
select coalesce(pg_catalog.pg_sequence_last_value(q.seq), 0)::text as last, p.seqcache::text as cache, p.seqcycle as cycle,
  coalesce((select max(${of.column}) from ${place(of)}), 0)::text as highest
from (select pg_catalog.pg_get_serial_sequence('${place(of)}', '${of.column}')::regclass as seq) q
join pg_catalog.pg_sequence p on p.seqrelid = q.seq
where pg_catalog.has_sequence_privilege(q.seq, 'USAGE, SELECT') and pg_catalog.has_table_privilege('${place(of)}', 'SELECT')`

async function stateOf(query: Query, of: Numbered): Promise<SequenceState | undefined> {
  const [row] = (await query<Row>(look(of))).rows
  if (row === undefined) return undefined
  return {
    last: BigInt(row.last ?? 0),
    highest: BigInt(row.highest ?? 0),
    cache: BigInt(row.cache),
    cycle: row.cycle,
  }
}

export function sequenceState(own: Own, of: Numbered): Promise<SequenceState | undefined> {
  return own.transaction('looking at a sequence', (query) => stateOf(query, of))
}

/**
 * A sequence behind its rows, after a restore of the data alone or a failover to a logical replica,
 * gives out positions below those of earlier messages: their order would be lost. Sets it to the
 * highest row; nobody adds rows meanwhile. Throws `MERSAL_STORE_UNSAFE` if that may not be.
 */
export async function catchUp(own: Own, of: Numbered): Promise<'as it should be' | 'set'> {
  const state = await sequenceState(own, of)
  if (state === undefined || state.last >= state.highest) return 'as it should be'
  try {
    return await own.transaction('setting a sequence', async (query) => {
      await query(`set local lock_timeout = '2s'`)
      // Whoever draws a number holds a lock of the table that conflicts with this one.
      await query(`lock table ${place(of)} in share row exclusive mode`)
      const now = await stateOf(query, of)
      if (now === undefined || now.last >= now.highest) return 'as it should be'
      await query(remedyOf(of))
      return 'set'
    })
  } catch (cause) {
    throw behind(of, cause)
  }
}
