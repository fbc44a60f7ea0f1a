import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { post, type WholeLetter } from '../api.ts'
import { Attempts } from '../parts/attempts.tsx'
import { Ask, Badge, Empty, Notice, Time } from '../parts/basics.tsx'
import { useFetched } from '../parts/fetched.ts'
import { Safe } from '../parts/safe.tsx'
import { go, linkTo, type Place } from '../router.ts'
import { bytes } from '../words.ts'
import { pretty } from './sagas.tsx'

export function LetterPage({ place, rights }: { place: Place; rights: readonly string[] }): VNode {
  const { answer, error } = useFetched<WholeLetter>('dead/letter', place.query)
  const back = linkTo('dead', box(place))
  if (error !== undefined)
    return (
      <Notice tone="bad" title={error.message}>
        <a href={back}>All dead letters</a>
      </Notice>
    )
  if (answer === undefined) return <p class="quiet">Looking …</p>
  return (
    <>
      <p>
        <a href={back}>All dead letters</a>
      </p>
      <section class="panel" aria-label="Dead letter">
        <header class="panel-head">
          <h2>
            <Safe text={answer.type === '' ? '(no type)' : answer.type} />
          </h2>
          <Badge tone="bad">{answer.reason}</Badge>
          {answer.blocksKey ? <Badge tone="warn">holds back its key</Badge> : null}
          {answer.maybePublished ? <Badge tone="warn">maybe published</Badge> : null}
        </header>
        <Buttons letter={answer} place={place} rights={rights} />
        <h3>What happened</h3>
        <Causes letter={answer} />
        {answer.history.length === 0 ? null : (
          <>
            <h3>Attempts</h3>
            <Attempts history={answer.history} />
          </>
        )}
        <h3>Message</h3>
        <Facts letter={answer} />
        <h3>Headers</h3>
        <Headers letter={answer} />
        <h3>Body</h3>
        <Body letter={answer} />
      </section>
    </>
  )
}

const box = ({
  query: { source, queue, transport },
}: Place): Readonly<Record<string, string | undefined>> => ({ source, queue, transport })

function Buttons({
  letter,
  place,
  rights,
}: {
  letter: WholeLetter
  place: Place
  rights: readonly string[]
}): VNode | null {
  const [asked, setAsked] = useState<'retry' | 'discard'>()
  const may = (['retry', 'discard'] as const).filter((fate) => rights.includes(fate))
  const way = letter.correlationId ?? letter.id
  return (
    <div class="buttons">
      {may.map((fate) => (
        <button
          key={fate}
          type="button"
          class={fate === 'retry' ? 'primary' : ''}
          onClick={() => setAsked(fate)}
        >
          {fate === 'retry' ? 'Retry …' : 'Discard …'}
        </button>
      ))}
      {way === '' ? null : (
        <a class="button" href={linkTo('way', { id: way })}>
          Its way
        </a>
      )}
      {asked === undefined ? null : (
        <Ask
          title={asked === 'retry' ? 'Retry' : 'Discard'}
          action={asked === 'retry' ? 'Retry' : 'Discard'}
          danger={asked === 'discard'}
          work={async () => {
            const { source, queue, transport } = place.query
            await post(`dead/${asked}`, {
              source,
              ...(queue === undefined ? {} : { queue }),
              ...(transport === undefined ? {} : { transport }),
              keys: [letter.key],
            })
            go('dead', box(place))
          }}
          done={() => setAsked(undefined)}
        >
          {asked === 'retry' ? (
            <p>It goes back with its id, due at once and with no tries used.</p>
          ) : (
            <p>
              It is removed <strong>for good</strong>, with its body.
            </p>
          )}
        </Ask>
      )}
    </div>
  )
}

/** The chain of causes: each one explains the one above it. */
function Causes({ letter: { causes, stack } }: { letter: WholeLetter }): VNode {
  return (
    <>
      <ol class="causes">
        {causes.map((cause, index) => (
          <li key={index}>
            <span class="quiet">{index === 0 ? 'error' : 'caused by'}</span> <Safe text={cause} />
          </li>
        ))}
      </ol>
      {stack.length === 0 ? null : (
        <details>
          <summary>Where it was thrown</summary>
          <pre tabIndex={0}>
            <Safe text={stack.join('\n')} lines />
          </pre>
        </details>
      )}
    </>
  )
}

function Facts({ letter }: { letter: WholeLetter }): VNode {
  const { id, place, partitionKey, attempts, diedAt, direction, correlationId, key } = letter
  return (
    <dl class="facts">
      <dt>Id</dt>
      <dd>
        <code>
          <Safe text={id === '' ? 'none' : id} />
        </code>
      </dd>
      <dt>{direction === 'incoming' ? 'Queue' : 'Destination'}</dt>
      <dd>
        <Safe text={place} />
      </dd>
      <dt>Partition key</dt>
      <dd>{partitionKey === null ? 'none' : <Safe text={partitionKey} />}</dd>
      <dt>Correlation id</dt>
      <dd>
        <code>{correlationId === null ? 'none' : <Safe text={correlationId} />}</code>
      </dd>
      <dt>Tries</dt>
      <dd>{attempts}</dd>
      <dt>Died</dt>
      <dd>
        <Time at={diedAt} />
      </dd>
      <dt>Letter</dt>
      <dd>
        <code>
          <Safe text={key} />
        </code>
      </dd>
    </dl>
  )
}

function Headers({ letter: { headers } }: { letter: WholeLetter }): VNode {
  if (headers.length === 0) return <Empty>None.</Empty>
  return (
    <dl class="facts">
      {headers.map(({ name, value }) => (
        <>
          <dt>
            <Safe text={name} />
          </dt>
          <dd>
            {value === null ? (
              <span class="masked" title="Needs the right “bodies”">
                ••••••
              </span>
            ) : (
              <Safe text={value} />
            )}
          </dd>
        </>
      ))}
    </dl>
  )
}

function Body({ letter: { body, bytes: size, withheld } }: { letter: WholeLetter }): VNode {
  if (withheld) return <Empty>It is too large to be read: {bytes(size)}.</Empty>
  if (body === null)
    return (
      <Empty>
        {bytes(size)}. Not shown: it may hold personal data, and you have not the right “bodies”.
      </Empty>
    )
  return (
    <>
      <pre tabIndex={0}>
        <Safe text={body.text === null ? (body.base64 ?? '') : pretty(body.text)} lines />
      </pre>
      <p class="quiet">
        {bytes(size)}
        {body.base64 === null ? '' : ', as base64'}
        {body.cut ? ', the beginning' : ''}
      </p>
    </>
  )
}
