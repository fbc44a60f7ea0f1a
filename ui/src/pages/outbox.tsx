import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import type { DestinationRow, KeyRow, PauseRow, RefusedRow, SourceView } from '../api.ts'
import type { LiveState } from '../live.ts'
import { Attempts } from '../parts/attempts.tsx'
import { Badge, type Column, Empty, Notice, Table, Time } from '../parts/basics.tsx'
import { useFetched } from '../parts/fetched.ts'
import { Safe } from '../parts/safe.tsx'
import { SourcePicker, sourceOf } from '../parts/picker.tsx'
import { linkTo, type Place } from '../router.ts'
import { count, duration } from '../words.ts'
import { Estimated, toneOf } from './overview.tsx'

export function OutboxPage({ live, place }: { live: LiveState; place: Place }): VNode {
  const { overview } = live
  const source = sourceOf(overview, place)
  if (overview === undefined) return <p class="quiet">Looking …</p>
  if (source === undefined) return <Empty>There is no such source.</Empty>
  return (
    <>
      <SourcePicker sources={overview.sources} place={place} chosen={source.name} />
      {source.trouble === null ? null : (
        <Notice tone={toneOf(source.trouble)} title={source.trouble.text} />
      )}
      <Estimated source={source} />
      <Destinations source={source} />
      <Keys source={source} />
      {source.offers.refused && (source.counts?.refused ?? 0) > 0 ? (
        <Refused key={source.name} source={source} />
      ) : null}
    </>
  )
}

interface RefusedPage {
  readonly messages: readonly RefusedRow[]
  readonly next: string | null
}

function Refused({ source: { name } }: { source: SourceView }): VNode {
  const [after, setAfter] = useState<string>()
  const { answer, error, again } = useFetched<RefusedPage>('refused', { source: name, after })
  const columns: readonly Column<RefusedRow>[] = [
    { name: 'Type', cell: (row) => <Safe text={row.type} /> },
    { name: 'Destination', cell: (row) => <Safe text={row.place} /> },
    {
      name: 'Key',
      cell: (row) => (row.partitionKey === null ? '' : <Safe text={row.partitionKey} />),
    },
    { name: 'Tries', right: true, cell: (row) => count(row.attempts) },
    { name: 'Due', cell: (row) => <Time at={row.dueAt} /> },
    {
      name: 'Attempts',
      cell: ({ history }) =>
        history.length === 0 ? (
          'not known'
        ) : (
          <details>
            <summary>
              <Safe text={history.at(-1)?.causes[0] ?? ''} />
            </summary>
            <Attempts history={history} />
          </details>
        ),
    },
  ]
  return (
    <section class="panel" aria-label="Refused so far">
      <header class="panel-head">
        <h2>Refused so far</h2>
        <span class="quiet">they are tried again</span>
        <button type="button" onClick={again}>
          Look again
        </button>
      </header>
      {error === undefined ? null : <Notice tone="bad" title={error.message} />}
      {answer === undefined ? null : (
        <Table
          caption="Messages that were refused so far"
          columns={columns}
          rows={answer.messages}
          rowKey={(row) => row.key}
        />
      )}
      {answer === undefined || answer.next === null ? null : (
        <button type="button" onClick={() => setAfter(answer.next ?? undefined)}>
          Further ones
        </button>
      )}
    </section>
  )
}

const isPaused = (pauses: readonly PauseRow[], kind: string, name: string): boolean =>
  pauses.some((pause) => pause.kind === kind && pause.name === name)

function Destinations({ source }: { source: SourceView }): VNode {
  const { destinations, pauses, moreDestinations, name } = source
  const columns: readonly Column<DestinationRow>[] = [
    { name: 'Destination', cell: (row) => <Safe text={row.destination} /> },
    { name: 'Waiting', right: true, cell: (row) => count(row.pending) },
    { name: 'Due', right: true, cell: (row) => count(row.due) },
    { name: 'In hand', right: true, cell: (row) => count(row.claimed) },
    { name: 'Behind', right: true, cell: (row) => duration(row.behindMs) },
    { name: 'Oldest', right: true, cell: (row) => duration(row.oldestMs) },
    {
      name: 'Dead',
      right: true,
      cell: (row) =>
        row.dead === 0 ? (
          '0'
        ) : (
          <a href={linkTo('dead', { source: name, place: row.destination })}>{count(row.dead)}</a>
        ),
    },
    {
      name: 'State',
      cell: (row) => (
        <>
          {isPaused(pauses, 'destination', row.destination) ? (
            <Badge tone="warn">paused</Badge>
          ) : null}
          {row.refused > 0 ? <Badge tone="bad">{count(row.refused)} refused</Badge> : null}
          {row.lastError === null ? null : (
            <span class="quiet cut">
              {' '}
              <Safe text={row.lastError} />
            </span>
          )}
        </>
      ),
    },
  ]
  return (
    <section class="panel" aria-label="By destination">
      <header class="panel-head">
        <h2>By destination</h2>
      </header>
      {destinations.length === 0 ? (
        <Empty>{source.counts === null ? 'Not known.' : 'Nothing waits.'}</Empty>
      ) : (
        <Table
          caption="Messages by destination"
          columns={columns}
          rows={destinations}
          rowKey={(row) => row.destination}
        />
      )}
      {moreDestinations > 0 ? (
        <Empty>and {count(moreDestinations)} more destinations with less</Empty>
      ) : null}
    </section>
  )
}

function Keys({ source }: { source: SourceView }): VNode {
  const { keys, pauses, name } = source
  const columns: readonly Column<KeyRow>[] = [
    { name: 'Key', cell: (row) => <Safe text={row.key} /> },
    { name: 'Waiting', right: true, cell: (row) => count(row.pending) },
    { name: 'Oldest', right: true, cell: (row) => duration(row.oldestMs) },
    {
      name: 'State',
      cell: (row) => (
        <>
          {row.blocked ? (
            <a href={linkTo('dead', { source: name, partitionKey: row.key })}>
              <Badge tone="bad">held back by a dead letter</Badge>
            </a>
          ) : null}
          {isPaused(pauses, 'key', row.key) ? <Badge tone="warn">paused</Badge> : null}
        </>
      ),
    },
  ]
  return (
    <section class="panel" aria-label="By key">
      <header class="panel-head">
        <h2>By partition key</h2>
        <span class="quiet">those that are held back, then the oldest</span>
      </header>
      {keys.length === 0 ? (
        <Empty>{source.counts === null ? 'Not known.' : 'No message with a key waits.'}</Empty>
      ) : (
        <Table
          caption="Messages by partition key"
          columns={columns}
          rows={keys}
          rowKey={(row) => row.key}
        />
      )}
    </section>
  )
}
