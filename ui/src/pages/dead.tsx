import type { VNode } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { get, type Letter, type LetterPage, type Overview, type SourceView } from '../api.ts'
import { asApiError, type LiveState } from '../live.ts'
import { Badge, type Column, Empty, Notice, Table, Time } from '../parts/basics.tsx'
import { Safe } from '../parts/safe.tsx'
import { go, linkTo, type Place } from '../router.ts'
import { bytes, count } from '../words.ts'
import { Changes } from './changes.tsx'

const ROWS = 50
const filters = ['type', 'partitionKey', 'place', 'reason', 'text'] as const

interface Found extends LetterPage {
  readonly searching: boolean
  readonly error: string | undefined
}

const nothing: Found = { letters: [], next: null, looked: 0, searching: true, error: undefined }

/** Looks on, stretch by stretch, until the page is full or there is nothing more. */
function useLetters(query: Readonly<Record<string, string>>, after: string, turn: number): Found {
  const [found, setFound] = useState(nothing)
  useEffect(() => {
    const stop = new AbortController()
    const look = async (): Promise<void> => {
      let letters: readonly Letter[] = []
      let looked = 0
      for (let next: string | null = after; ; ) {
        const page: LetterPage = await get<LetterPage>(
          'dead',
          { ...query, after: next, limit: ROWS - letters.length },
          stop.signal,
        )
        letters = [...letters, ...page.letters]
        looked += page.looked
        next = page.next
        const searching = next !== null && letters.length < ROWS
        setFound({ letters, next, looked, searching, error: undefined })
        if (!searching) return
      }
    }
    setFound((before) => ({ ...before, searching: true }))
    look().catch((thrown: unknown) => {
      if (!stop.signal.aborted)
        setFound({ ...nothing, searching: false, error: asApiError(thrown).message })
    })
    return () => stop.abort()
  }, [JSON.stringify(query), after, turn])
  return found
}

export function DeadPage({
  live,
  place,
  rights,
}: {
  live: LiveState
  place: Place
  rights: readonly string[]
}): VNode {
  const sources = live.overview?.sources ?? []
  const source = place.query['source'] ?? sources[0]?.name
  if (source === undefined) return <p class="quiet">Looking …</p>
  const query = { ...place.query, source }
  // Another list begins at its own start.
  return <List key={JSON.stringify(query)} query={query} overview={live.overview} rights={rights} />
}

function List({
  query,
  overview,
  rights,
}: {
  query: Readonly<Record<string, string>>
  overview: Overview | undefined
  rights: readonly string[]
}): VNode {
  const [cursors, setCursors] = useState<readonly string[]>([''])
  const [turn, setTurn] = useState(0)
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const { letters, next, looked, searching, error } = useLetters(query, cursors.at(-1) ?? '', turn)
  const show = (to: readonly string[]): void => {
    setChosen(new Set())
    setCursors(to)
  }
  const again = (): void => {
    setChosen(new Set())
    setTurn((before) => before + 1)
  }
  const may = rights.includes('retry') || rights.includes('discard')
  return (
    <>
      <Boxes overview={overview} query={query} />
      {error === undefined ? null : <Notice tone="bad" title={error} />}
      <section class="panel" aria-label="Dead letters">
        <Search query={query} />
        {may ? (
          <Changes
            query={query}
            chosen={[...chosen]}
            rights={rights}
            total={totalOf(overview, query)}
            done={again}
          />
        ) : null}
        {letters.length === 0 ? (
          <Empty>
            {searching
              ? `Looking … ${count(looked)} so far`
              : error === undefined
                ? 'No dead letters here.'
                : '—'}
          </Empty>
        ) : (
          <Table
            caption="Dead letters, oldest first"
            columns={columnsOf(query, may ? { chosen, setChosen, letters } : undefined)}
            rows={letters}
            rowKey={({ key }) => key}
            marked={({ key }) => chosen.has(key)}
          />
        )}
        <nav class="buttons" aria-label="Pages">
          <button
            type="button"
            disabled={cursors.length < 2}
            onClick={() => show(cursors.slice(0, -1))}
          >
            Previous
          </button>
          <button
            type="button"
            disabled={next === null || searching}
            onClick={() => next !== null && show([...cursors, next])}
          >
            Next
          </button>
          <span class="quiet" role="status">
            page {cursors.length}
            {searching ? `, looking … ${count(looked)} so far` : ''}
          </span>
        </nav>
      </section>
    </>
  )
}

function totalOf(
  overview: Overview | undefined,
  query: Readonly<Record<string, string>>,
): number | undefined {
  const source = overview?.sources.find(({ name }) => name === query['source'])
  if (query['queue'] === undefined) return source?.counts?.dead
  return source?.queues.find(
    ({ queue, transport }) =>
      queue === query['queue'] && transport === (query['transport'] ?? 'default'),
  )?.dead
}

interface Choice {
  readonly chosen: ReadonlySet<string>
  readonly letters: readonly Letter[]
  readonly setChosen: (chosen: ReadonlySet<string>) => void
}

function columnsOf(
  query: Readonly<Record<string, string>>,
  choice: Choice | undefined,
): readonly Column<Letter>[] {
  const { source, queue, transport } = query
  const pick: readonly Column<Letter>[] =
    choice === undefined
      ? []
      : [
          {
            name: 'Choose',
            hidden: true,
            cell: ({ key, type }) => (
              <input
                type="checkbox"
                aria-label={`Choose ${type} ${key}`}
                checked={choice.chosen.has(key)}
                onChange={(event) => {
                  const next = new Set(choice.chosen)
                  if (event.currentTarget.checked) next.add(key)
                  else next.delete(key)
                  choice.setChosen(next)
                }}
              />
            ),
          },
        ]
  return [
    ...pick,
    {
      name: 'Type',
      cell: ({ key, type }) => (
        <a href={linkTo('dead/letter', { source, queue, transport, key })}>
          <Safe text={type === '' ? '(no type)' : type} />
        </a>
      ),
    },
    { name: 'Reason', cell: ({ reason }) => <Badge tone="bad">{reason}</Badge> },
    {
      name: 'Error',
      cell: ({ error }) => (
        <span class="cut">
          <Safe text={error} />
        </span>
      ),
    },
    {
      name: 'Key',
      cell: ({ partitionKey, blocksKey }) => (
        <>
          {partitionKey === null ? null : <Safe text={partitionKey} />}
          {blocksKey ? (
            <>
              {' '}
              <Badge tone="warn">held back</Badge>
            </>
          ) : null}
        </>
      ),
    },
    { name: 'Place', cell: ({ place }) => <Safe text={place} /> },
    { name: 'Tries', right: true, cell: ({ attempts }) => attempts },
    { name: 'Size', right: true, cell: (row) => bytes(row.bytes) },
    { name: 'Died', cell: ({ diedAt }) => <Time at={diedAt} /> },
  ]
}

/** Which dead letters: of which source, outgoing or of which queue. */
function Boxes({
  overview,
  query,
}: {
  overview: Overview | undefined
  query: Readonly<Record<string, string>>
}): VNode {
  const sources = overview?.sources ?? []
  const source = sources.find(({ name }) => name === query['source'])
  const options = source === undefined ? [] : boxesOf(source)
  const now = JSON.stringify([query['queue'] ?? null, query['transport'] ?? null])
  const known = options.some(({ value }) => value === now)
  return (
    <div class="fields">
      {sources.length < 2 ? null : (
        <label class="field">
          <span>App or store</span>
          <select
            value={query['source']}
            onChange={(event) => go('dead', { source: event.currentTarget.value })}
          >
            {sources.map(({ name }) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      )}
      <label class="field">
        <span>Dead letters</span>
        <select
          value={now}
          onChange={(event) => {
            const [queue, transport] = JSON.parse(event.currentTarget.value) as [
              string | null,
              string | null,
            ]
            go('dead', { source: query['source'], queue, transport })
          }}
        >
          {known ? null : <option value={now}>{query['queue'] ?? 'outgoing'}</option>}
          {options.map(({ value, text }) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      </label>
    </div>
  )
}

function boxesOf({
  counts,
  queues,
  offers,
}: SourceView): readonly { value: string; text: string }[] {
  return [
    ...(offers.letters
      ? [
          {
            value: JSON.stringify([null, null]),
            text: `outgoing${counts === null ? '' : ` (${count(counts.dead)})`}`,
          },
        ]
      : []),
    ...queues.map(({ queue, transport, dead }) => ({
      value: JSON.stringify([queue, transport]),
      text: `incoming: ${queue}${transport === 'default' ? '' : ` on ${transport}`} (${count(dead)})`,
    })),
  ]
}

const names: Readonly<Record<(typeof filters)[number], string>> = {
  text: 'Text in id, type, key or error',
  type: 'Type',
  partitionKey: 'Partition key',
  place: 'Destination',
  reason: 'Reason',
}

function Search({ query }: { query: Readonly<Record<string, string>> }): VNode {
  const more = filters.some((name) => name !== 'text' && query[name] !== undefined)
  const field = (name: (typeof filters)[number]): VNode => (
    <label class={`field ${name === 'text' ? 'wide' : ''}`} key={name}>
      <span>{names[name]}</span>
      <input name={name} type="search" maxLength={200} defaultValue={query[name] ?? ''} />
    </label>
  )
  return (
    <form
      role="search"
      onSubmit={(event) => {
        event.preventDefault()
        const given = new FormData(event.currentTarget)
        const { source, queue, transport } = query
        go('dead', {
          source,
          queue,
          transport,
          ...Object.fromEntries(filters.map((name) => [name, String(given.get(name) ?? '')])),
        })
      }}
    >
      <div class="fields">
        {field('text')}
        <button type="submit">Search</button>
      </div>
      <details open={more}>
        <summary>More filters</summary>
        <div class="fields">
          {(['type', 'partitionKey', 'place', 'reason'] as const).map(field)}
        </div>
      </details>
    </form>
  )
}
