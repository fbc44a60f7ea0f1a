import type { VNode } from 'preact'
import type { Health, SourceView } from '../api.ts'
import type { LiveState, Point } from '../live.ts'
import { Badge, Empty, Figure, Notice, Time, type Tone } from '../parts/basics.tsx'
import { Curve } from '../parts/curve.tsx'
import { Safe } from '../parts/safe.tsx'
import { linkTo } from '../router.ts'
import { count, duration, plural } from '../words.ts'

const BEHIND_MS = 60_000
/** Large tables are counted less often, and then the page says when. */
const OLD_MS = 5000

export function OverviewPage({ live }: { live: LiveState }): VNode {
  const { overview, curves } = live
  if (overview === undefined) return <p class="quiet">Looking …</p>
  return (
    <>
      {overview.sources.map((source) => (
        <Source
          key={source.name}
          source={source}
          at={overview.at}
          points={curves.get(source.name) ?? []}
        />
      ))}
    </>
  )
}

const deadOf = ({ queues }: SourceView): number => queues.reduce((sum, { dead }) => sum + dead, 0)

function stateOf({ trouble, health, counts }: SourceView): readonly [Tone, string] {
  if (trouble?.kind === 'away') return ['bad', 'away']
  if (health?.status === 'down') return ['bad', 'down']
  if (trouble !== null) return ['warn', 'slow']
  if (counts !== null && counts.behindMs > BEHIND_MS) return ['warn', 'behind']
  if (health?.status === 'degraded') return ['warn', 'degraded']
  return ['good', 'well']
}

function Source({
  source,
  at,
  points,
}: {
  source: SourceView
  at: number
  points: readonly Point[]
}): VNode {
  const [tone, words] = stateOf(source)
  const { name, kind, store, trouble, seenAt } = source
  return (
    <section class={`panel ${trouble === null ? '' : 'old'}`} aria-label={name}>
      <header class="panel-head">
        <h2>
          <Safe text={name} />
        </h2>
        <span class="quiet">{[kind, store].filter(Boolean).join(' · ')}</span>
        <Badge tone={tone}>{words}</Badge>
        {trouble === null && seenAt !== null && at - seenAt > OLD_MS ? (
          <span class="quiet">
            figures of <Time at={seenAt} />
          </span>
        ) : null}
      </header>
      {trouble === null ? null : (
        <Notice tone={toneOf(trouble)} title={trouble.text}>
          Since <Time at={trouble.since} />.{' '}
          {seenAt === null ? (
            'The outbox has not been counted yet.'
          ) : (
            <>
              The figures are those of <Time at={seenAt} />.
            </>
          )}{' '}
          This page looks again by itself.
        </Notice>
      )}
      <Figures source={source} />
      <Estimated source={source} />
      {source.rates === null && points.length === 0 ? null : (
        <Rates source={source} points={points} />
      )}
      <Waiting source={source} />
      {source.health === null ? null : <HealthList health={source.health} />}
      <Queues source={source} />
    </section>
  )
}

export const toneOf = ({ kind }: NonNullable<SourceView['trouble']>): Tone =>
  kind === 'away' ? 'bad' : 'warn'

function Figures({ source }: { source: SourceView }): VNode | null {
  const { name, counts, pauses, queues } = source
  const dead = deadOf(source)
  if (counts === null && queues.length === 0 && pauses.length === 0) return null
  return (
    <div class="figures">
      {counts === null ? null : (
        <>
          <Figure
            name="Behind"
            value={duration(counts.behindMs)}
            note="oldest message that a relay could take"
            tone={counts.behindMs > BEHIND_MS ? 'bad' : 'calm'}
          />
          <Figure
            name="Waiting"
            value={`${counts.rowsRead === null ? '' : 'about '}${count(counts.pending)}`}
            note={`${count(counts.due)} due, ${count(counts.claimed)} in hand`}
            href={linkTo('outbox', { source: name })}
          />
          <Figure
            name="Dead, outgoing"
            value={count(counts.dead)}
            note={counts.refused > 0 ? `${count(counts.refused)} refused so far` : undefined}
            tone={counts.dead > 0 ? 'bad' : 'calm'}
            href={linkTo('dead', { source: name })}
          />
        </>
      )}
      <Figure
        name="Dead, incoming"
        value={queues.length === 0 && isUnseen(source) ? '–' : count(dead)}
        note={isUnseen(source) ? unseenText(source) : plural(queues.length, 'queue')}
        tone={dead > 0 ? 'bad' : 'calm'}
        href={linkTo('dead', { source: name, ...firstDead(source) })}
      />
      {source.offers.pauses ? (
        <Figure
          name="Paused"
          value={count(pauses.length)}
          tone={pauses.length > 0 ? 'warn' : 'calm'}
          href={linkTo('pauses', { source: name })}
        />
      ) : null}
    </div>
  )
}

const isUnseen = ({ queueTroubles }: SourceView): boolean => queueTroubles.length > 0

const unseenText = ({ queues }: SourceView): string =>
  queues.length === 0 ? 'the broker cannot be asked' : 'as seen last: the broker is away'

/** Millions of rows are not counted, and then the page says so. */
export function Estimated({ source }: { source: SourceView }): VNode | null {
  const rows = source.counts?.rowsRead ?? null
  if (rows === null) return null
  return (
    <p class="quiet">
      The outbox is too large to be counted: how many wait is estimated, and all other figures are
      of {count(rows)} messages, its oldest and its newest.
    </p>
  )
}

function firstDead({ queues }: SourceView): Record<string, string> {
  const first = queues.find(({ dead }) => dead > 0) ?? queues[0]
  return first === undefined ? {} : { queue: first.queue, transport: first.transport }
}

function Rates({ source, points }: { source: SourceView; points: readonly Point[] }): VNode {
  const added = source.rates?.added ?? 0
  const left = source.rates?.left ?? 0
  return (
    <div class="rates">
      <div class="rate-legend">
        <span class="rate added">
          <b>{count(added)}</b>/s added
        </span>
        <span class="rate left">
          <b>{count(left)}</b>/s left
        </span>
      </div>
      <Curve points={points} label={`Lately: ${added} added and ${left} left per second`} />
    </div>
  )
}

function Waiting({ source }: { source: SourceView }): VNode | null {
  const { counts } = source
  if (counts === null || source.trouble !== null) return null
  if (counts.behindMs <= BEHIND_MS || counts.claimed > 0) return null
  return (
    <Notice tone="warn" title="No relay takes what is due.">
      Nothing is in hand, and the oldest message has been due for {duration(counts.behindMs)}. Is a
      relay running, and does it reach this database?
    </Notice>
  )
}

const tones: Readonly<Record<string, Tone>> = { ok: 'good', degraded: 'warn', down: 'bad' }

function HealthList({ health }: { health: Health }): VNode {
  return (
    <ul class="health" aria-label="Health">
      {health.parts.map(({ part, name, status, reason }) => (
        <li key={`${part} ${name}`}>
          <Badge tone={tones[status] ?? 'calm'}>{part === 'destination' ? 'breaker' : part}</Badge>{' '}
          <Safe text={name} />
          {reason === null ? null : <span class="quiet"> — {reason}</span>}
        </li>
      ))}
    </ul>
  )
}

function Queues({ source }: { source: SourceView }): VNode | null {
  const { queues, queueTroubles, name } = source
  if (queues.length === 0 && queueTroubles.length === 0) return null
  return (
    <details open={queues.some(({ dead }) => dead > 0)}>
      <summary>Queues of consumers</summary>
      {queueTroubles.map(({ transport, text }) => (
        <Empty key={transport}>
          <Safe text={transport} />: {text}
        </Empty>
      ))}
      <ul class="queues">
        {queues.map(({ transport, queue, dead, waiting, consumers }) => (
          <li key={`${transport}/${queue}`}>
            <a href={linkTo('dead', { source: name, queue, transport })}>
              <Safe text={queue} />
            </a>
            <span class="quiet">
              {plural(waiting, 'message')} waiting
              {consumers === null ? '' : `, ${plural(consumers, 'consumer')}`}
            </span>
            {dead > 0 ? <Badge tone="bad">{count(dead)} dead</Badge> : null}
          </li>
        ))}
      </ul>
    </details>
  )
}
