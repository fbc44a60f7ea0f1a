import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import type { SagaRow, WholeSaga } from '../api.ts'
import type { LiveState } from '../live.ts'
import { Badge, type Column, Empty, Notice, Table, Time } from '../parts/basics.tsx'
import { useFetched } from '../parts/fetched.ts'
import { SourcePicker, sourceOf } from '../parts/picker.tsx'
import { Safe } from '../parts/safe.tsx'
import { go, linkTo, type Place } from '../router.ts'

export function SagasPage({ live, place }: { live: LiveState; place: Place }): VNode {
  const source = sourceOf(live.overview, place)
  const [cursors, setCursors] = useState<readonly string[]>([])
  const { saga, key } = place.query
  const { answer, error } = useFetched<{ sagas: readonly SagaRow[]; next: string | null }>(
    source?.offers.sagas === true ? 'sagas' : undefined,
    { source: source?.name, saga, key, after: cursors.at(-1) },
  )
  if (live.overview === undefined || source === undefined) return <p class="quiet">Looking …</p>
  const columns: readonly Column<SagaRow>[] = [
    { name: 'App', cell: (row) => <Safe text={row.app} /> },
    { name: 'Saga', cell: (row) => <Safe text={row.saga} /> },
    {
      name: 'Key',
      cell: (row) => (
        <a
          href={linkTo('sagas/instance', {
            source: source.name,
            app: row.app,
            saga: row.saga,
            key: row.key,
          })}
        >
          <Safe text={row.key} />
        </a>
      ),
    },
    { name: 'Version', right: true, cell: (row) => row.version },
    { name: 'Began', cell: (row) => <Time at={row.createdAt} /> },
    { name: 'Changed', cell: (row) => <Time at={row.updatedAt} /> },
  ]
  return (
    <>
      <SourcePicker sources={live.overview.sources} place={place} chosen={source.name} />
      {error === undefined ? null : <Notice tone="bad" title={error.message} />}
      <section class="panel" aria-label="Instances">
        <header class="panel-head">
          <h2>Instances that have not completed</h2>
        </header>
        <form
          class="fields"
          onSubmit={(event) => {
            event.preventDefault()
            const given = new FormData(event.currentTarget)
            setCursors([])
            go('sagas', {
              source: source.name,
              saga: String(given.get('saga')),
              key: String(given.get('key')),
            })
          }}
        >
          <label class="field">
            <span>Saga</span>
            <input name="saga" defaultValue={saga ?? ''} />
          </label>
          <label class="field">
            <span>Key</span>
            <input name="key" defaultValue={key ?? ''} />
          </label>
          <button type="submit">Show</button>
        </form>
        {!source.offers.sagas ? (
          <Empty>Its store keeps no sagas.</Empty>
        ) : answer === undefined ? null : answer.sagas.length === 0 ? (
          <Empty>None.</Empty>
        ) : (
          <Table
            caption="Instances of sagas"
            columns={columns}
            rows={answer.sagas}
            rowKey={(row) => `${row.app} ${row.saga} ${row.key}`}
          />
        )}
        <nav class="buttons" aria-label="Pages">
          <button
            type="button"
            disabled={cursors.length === 0}
            onClick={() => setCursors(cursors.slice(0, -1))}
          >
            Previous
          </button>
          <button
            type="button"
            disabled={!answer?.next}
            onClick={() => answer?.next && setCursors([...cursors, answer.next])}
          >
            Next
          </button>
        </nav>
      </section>
    </>
  )
}

export function SagaPage({ place }: { place: Place }): VNode {
  const { answer, error } = useFetched<WholeSaga>('sagas/instance', place.query)
  if (error !== undefined) return <Notice tone="bad" title={error.message} />
  if (answer === undefined) return <p class="quiet">Looking …</p>
  const { app, saga, key, id, version, createdAt, updatedAt, timeouts, state } = answer
  return (
    <section class="panel" aria-label="Instance">
      <header class="panel-head">
        <h2>
          <Safe text={`${saga} ${key}`} />
        </h2>
      </header>
      <dl class="facts">
        <dt>App</dt>
        <dd>
          <Safe text={app} />
        </dd>
        <dt>Id</dt>
        <dd>
          <code>{id}</code>
        </dd>
        <dt>Version</dt>
        <dd>{version}</dd>
        <dt>Began</dt>
        <dd>
          <Time at={createdAt} />
        </dd>
        <dt>Changed</dt>
        <dd>
          <Time at={updatedAt} />
        </dd>
        <dt>Waits for</dt>
        <dd>
          {timeouts.length === 0
            ? 'no timeout'
            : timeouts.map((name) => (
                <Badge key={name} tone="info">
                  <Safe text={name} />
                </Badge>
              ))}
        </dd>
      </dl>
      <h3>State</h3>
      {state === null ? (
        <Empty>Not shown: it may hold personal data, and you have not the right “bodies”.</Empty>
      ) : (
        <pre tabIndex={0}>
          <Safe text={pretty(state)} lines />
        </pre>
      )}
    </section>
  )
}

export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2)
  } catch {
    return text
  }
}
