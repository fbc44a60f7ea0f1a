import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { type Changed, post } from '../api.ts'
import { Ask } from '../parts/basics.tsx'
import { count, plural } from '../words.ts'

type Fate = 'retry' | 'discard'

interface Wish {
  readonly fate: Fate
  readonly all: boolean
}

const verbs = { retry: 'Retry', discard: 'Discard' } as const
const done = { retry: 'retried', discard: 'discarded' } as const

/** Retries or discards those that were chosen, or all that the filter lets through. */
export function Changes({
  query,
  chosen,
  rights,
  total,
  done: over,
}: {
  query: Readonly<Record<string, string>>
  chosen: readonly string[]
  rights: readonly string[]
  /** How many there are in all, filter or not. */
  total: number | undefined
  done: () => void
}): VNode {
  const [wish, setWish] = useState<Wish>()
  const [told, setTold] = useState('')
  const may = (['retry', 'discard'] as const).filter((fate) => rights.includes(fate))
  return (
    <div class="buttons">
      {may.map((fate) => (
        <button
          type="button"
          key={fate}
          disabled={chosen.length === 0}
          onClick={() => setWish({ fate, all: false })}
        >
          {verbs[fate]} {chosen.length === 0 ? 'chosen' : count(chosen.length)}
        </button>
      ))}
      {may.map((fate) => (
        <button
          type="button"
          key={`all ${fate}`}
          class="soft"
          onClick={() => setWish({ fate, all: true })}
        >
          {verbs[fate]} all that match …
        </button>
      ))}
      <span role="status" class="quiet">
        {told}
      </span>
      {wish === undefined ? null : (
        <Ask
          title={
            wish.all
              ? `${verbs[wish.fate]} all that match`
              : `${verbs[wish.fate]} ${plural(chosen.length, 'dead letter')}`
          }
          action={verbs[wish.fate]}
          danger={wish.fate === 'discard'}
          work={async (report, signal) => {
            const changed = wish.all
              ? await changeAll(wish.fate, query, total, report, signal)
              : (await post<Changed>(`dead/${wish.fate}`, { ...boxOf(query), keys: chosen }))
                  .changed
            setTold(`${done[wish.fate]} ${count(changed)}`)
          }}
          done={(begun) => {
            setWish(undefined)
            if (begun) over()
          }}
        >
          <Words wish={wish} total={total} filtered={isFiltered(query)} />
        </Ask>
      )}
    </div>
  )
}

function Words({
  wish,
  total,
  filtered,
}: {
  wish: Wish
  total: number | undefined
  filtered: boolean
}): VNode {
  const which = !wish.all
    ? 'They'
    : filtered
      ? `All that the filter lets through, of ${total === undefined ? 'all' : count(total)},`
      : `All ${total === undefined ? '' : count(total)} of them`
  return wish.fate === 'retry' ? (
    <p>{which} go back with their ids, due at once and with no tries used.</p>
  ) : (
    <p>
      {which} are removed <strong>for good</strong>, with their bodies.
    </p>
  )
}

const boxOf = ({ source, queue, transport }: Readonly<Record<string, string>>): object => ({
  source,
  ...(queue === undefined ? {} : { queue }),
  ...(transport === undefined ? {} : { transport }),
})

const isFiltered = ({
  source: _,
  queue: __,
  transport: ___,
  ...rest
}: Readonly<Record<string, string>>): boolean => Object.keys(rest).length > 0

/** Stretch by stretch, over what was there at the start. What was done stays done if it is stopped. */
async function changeAll(
  fate: Fate,
  query: Readonly<Record<string, string>>,
  total: number | undefined,
  report: (text: string) => void,
  signal: AbortSignal,
): Promise<number> {
  let changed = 0
  let left = total ?? Number.POSITIVE_INFINITY
  for (let after: string | null = ''; after !== null && left > 0 && !signal.aborted; ) {
    const most = Number.isFinite(left) ? { most: left } : {}
    const part: Changed = await post<Changed>(`dead/${fate}`, {
      ...query,
      all: true,
      ...most,
      after,
    })
    changed += part.changed
    left -= part.looked
    after = part.looked === 0 ? null : part.next
    report(`${done[fate]} ${count(changed)} …`)
  }
  return changed
}
