import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import type { Way, WayMessage } from '../api.ts'
import { Badge, Empty, Notice, Time, type Tone } from '../parts/basics.tsx'
import { useFetched } from '../parts/fetched.ts'
import { Safe } from '../parts/safe.tsx'
import { go, linkTo, type Place } from '../router.ts'
import { duration, plural, preciseText } from '../words.ts'
import { Picture } from './picture.tsx'

export function WayPage({ place }: { place: Place }): VNode {
  const id = place.query['id'] ?? ''
  return (
    <>
      <section class="panel" aria-label="Which way">
        <form
          class="fields"
          role="search"
          onSubmit={(event) => {
            event.preventDefault()
            go('way', { id: String(new FormData(event.currentTarget).get('id')).trim() })
          }}
        >
          <label class="field wide">
            <span>Correlation id, or the id of a message</span>
            <input key={id} name="id" required maxLength={200} defaultValue={id} />
          </label>
          <button type="submit" class="primary">
            Show its way
          </button>
        </form>
      </section>
      {id === '' ? (
        <Empty>
          A message and all that came of it: who sent it, which broker took it, who handled it, what
          died.
        </Empty>
      ) : (
        <Shown key={id} id={id} />
      )}
    </>
  )
}

export function fateOf({ state, letters, steps }: WayMessage): readonly [Tone, string] {
  if (letters.length > 0 || state === 'dead') return ['bad', 'dead']
  if (state === 'handled') return ['good', 'handled']
  if (state === 'sending') return ['info', 'on its way']
  if (state === 'waiting') return ['warn', 'waiting']
  if (steps.some(({ what, outcome }) => what === 'received' && outcome === 'handled'))
    return ['good', 'handled']
  if (steps.some(({ what, outcome }) => what === 'published' && outcome === 'confirmed'))
    return ['info', 'published']
  return ['calm', state === 'left' ? 'not here' : 'unknown']
}

function Shown({ id }: { id: string }): VNode {
  const { answer, error, again } = useFetched<Way>('way', { id })
  const [chosen, setChosen] = useState<string>()
  if (error !== undefined) return <Notice tone="bad" title={error.message} />
  if (answer === undefined) return <p class="quiet">Looking …</p>
  const { messages, complete, remembersSince } = answer
  return (
    <section class="panel" aria-label="Way">
      <header class="panel-head">
        <h2>{plural(messages.length, 'message')}</h2>
        <button type="button" onClick={again}>
          Look again
        </button>
      </header>
      <Picture messages={messages} chosen={chosen} choose={setChosen} />
      <ol class="way">
        {messages.map((message) => (
          <Message key={message.id} message={message} chosen={message.id === chosen} />
        ))}
      </ol>
      <p class="quiet">
        {remembersSince === null ? (
          'From the dead letters, the outbox and the inbox. What apps have done is remembered by dashboards inside of them.'
        ) : (
          <>
            From what the apps of this process did since <Time at={remembersSince} />, the dead
            letters, the outbox and the inbox.
          </>
        )}
        {complete
          ? ''
          : ' Not everything could be looked at: there is more, or something was away.'}
      </p>
    </section>
  )
}

const verbs: Readonly<Record<string, string>> = {
  sent: 'sent to',
  published: 'published to',
  received: 'received from',
}

function Message({ message, chosen }: { message: WayMessage; chosen: boolean }): VNode {
  const { id, type, steps, handledBy, letters } = message
  const [tone, words] = fateOf(message)
  return (
    <li id={`message-${id}`} class={chosen ? 'chosen' : ''}>
      <div class="way-head">
        <b>{type === null ? 'A message' : <Safe text={type} />}</b>{' '}
        <Badge tone={tone}>{words}</Badge>
        <code class="quiet">
          <Safe text={id} />
        </code>
      </div>
      <ul>
        {steps.map(({ at, what, app, place, outcome, ms }, index) => (
          <li key={index}>
            <span class="clock">{preciseText(at)}</span>{' '}
            <b>
              <Safe text={app} />
            </b>{' '}
            {verbs[what] ?? what} <Safe text={place} />
            {outcome === null ? null : <> — {outcome}</>}
            {ms === null || what === 'sent' ? null : <span class="quiet"> in {duration(ms)}</span>}
          </li>
        ))}
        {handledBy.length === 0 ? null : (
          <li>
            In the inbox of{' '}
            {handledBy.map((name, index) => (
              <>
                {index > 0 ? ', ' : ''}
                <b key={name}>
                  <Safe text={name} />
                </b>
              </>
            ))}
          </li>
        )}
        {letters.map(({ source, queue, transport, key, reason, diedAt }) => (
          <li key={`${source} ${queue} ${key}`}>
            <a href={linkTo('dead/letter', { source, queue, transport, key })}>Dead letter</a>{' '}
            {queue === null ? (
              'of the outbox'
            ) : (
              <>
                of the queue{' '}
                <b>
                  <Safe text={queue} />
                </b>
              </>
            )}
            : {reason}, <Time at={diedAt} />
          </li>
        ))}
      </ul>
    </li>
  )
}
