import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { post, type PauseRow } from '../api.ts'
import type { LiveState } from '../live.ts'
import { Ask, type Column, Empty, Notice, Table, Time } from '../parts/basics.tsx'
import { useFetched } from '../parts/fetched.ts'
import { SourcePicker, sourceOf } from '../parts/picker.tsx'
import { Safe } from '../parts/safe.tsx'
import type { Place } from '../router.ts'

export function PausesPage({
  live,
  place,
  may,
}: {
  live: LiveState
  place: Place
  may: boolean
}): VNode {
  const source = sourceOf(live.overview, place)
  const { answer, error, again } = useFetched<{ pauses: readonly PauseRow[] }>(
    source?.offers.pauses === true ? 'pauses' : undefined,
    { source: source?.name },
  )
  const [resuming, setResuming] = useState<PauseRow>()
  if (live.overview === undefined || source === undefined) return <p class="quiet">Looking …</p>
  const columns: readonly Column<PauseRow>[] = [
    { name: 'What', cell: ({ kind }) => kind },
    { name: 'Name', cell: ({ name }) => <Safe text={name} /> },
    { name: 'Since', cell: ({ since }) => <Time at={since} /> },
    { name: 'Reason', cell: ({ reason }) => <Safe text={reason} /> },
    {
      name: 'Resume',
      hidden: true,
      right: true,
      cell: (row) =>
        may ? (
          <button type="button" onClick={() => setResuming(row)} aria-label={`Resume ${row.name}`}>
            Resume
          </button>
        ) : null,
    },
  ]
  return (
    <>
      <SourcePicker sources={live.overview.sources} place={place} chosen={source.name} />
      {error === undefined ? null : <Notice tone="bad" title={error.message} />}
      {source.offers.pauses ? null : <Empty>Its store does not offer pauses.</Empty>}
      <section class="panel" aria-label="Paused">
        <header class="panel-head">
          <h2>Paused</h2>
        </header>
        {answer === undefined ? null : answer.pauses.length === 0 ? (
          <Empty>Nothing is paused.</Empty>
        ) : (
          <Table
            caption="What is paused"
            columns={columns}
            rows={answer.pauses}
            rowKey={({ kind, name }) => `${kind} ${name}`}
          />
        )}
      </section>
      {may && source.offers.pauses ? <PauseForm source={source.name} done={again} /> : null}
      {resuming === undefined ? null : (
        <Ask
          title="Resume"
          action="Resume"
          work={async () =>
            void (await post('pauses/resume', {
              source: source.name,
              kind: resuming.kind,
              name: resuming.name,
            }))
          }
          done={() => {
            setResuming(undefined)
            again()
          }}
        >
          What waits for <Safe text={resuming.name} /> leaves within about a second, each key in its
          order.
        </Ask>
      )}
    </>
  )
}

function PauseForm({ source, done }: { source: string; done: () => void }): VNode {
  const [kind, setKind] = useState('destination')
  const [name, setName] = useState('')
  const [reason, setReason] = useState('')
  const [asking, setAsking] = useState(false)
  return (
    <section class="panel" aria-label="Pause something">
      <header class="panel-head">
        <h2>Pause something</h2>
      </header>
      <form
        class="fields"
        onSubmit={(event) => {
          event.preventDefault()
          setAsking(true)
        }}
      >
        <label class="field">
          <span>What</span>
          <select value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
            <option value="destination">a destination</option>
            <option value="key">a partition key</option>
          </select>
        </label>
        <label class="field wide">
          <span>Name</span>
          <input
            required
            value={name}
            placeholder={kind === 'key' ? 'customer-42' : 'default/queue/billing'}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
        <label class="field wide">
          <span>Reason, for others</span>
          <input
            value={reason}
            maxLength={500}
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </label>
        <button type="submit" class="primary">
          Pause …
        </button>
      </form>
      {asking ? (
        <Ask
          title="Pause"
          action="Pause"
          work={async () => {
            await post('pauses', { source, kind, name, reason })
            setName('')
            setReason('')
          }}
          done={() => {
            setAsking(false)
            done()
          }}
        >
          Messages of <Safe text={name} /> wait from now on, in all relays. None is lost; later
          messages of their keys wait behind them.
        </Ask>
      ) : null}
    </section>
  )
}
