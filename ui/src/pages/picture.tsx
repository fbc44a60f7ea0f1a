import type { VNode } from 'preact'
import type { WayMessage } from '../api.ts'
import { fateOf } from './way.tsx'

const BOX = { width: 216, height: 62, gapX: 72, gapY: 22, pad: 12 }

interface Placed {
  readonly message: WayMessage
  readonly x: number
  readonly y: number
}

/** Causes to the left, and below each other what came of one cause. */
function layout(messages: readonly WayMessage[]): readonly Placed[] {
  const known = new Set(messages.map(({ id }) => id))
  const placed: Placed[] = []
  const seen = new Set<string>()
  let row = 0
  const place = (message: WayMessage, depth: number): void => {
    if (seen.has(message.id)) return
    seen.add(message.id)
    const y = BOX.pad + row * (BOX.height + BOX.gapY)
    placed.push({ message, x: BOX.pad + depth * (BOX.width + BOX.gapX), y })
    const effects = messages.filter(({ causationId }) => causationId === message.id)
    for (const [index, effect] of effects.entries()) {
      if (index > 0) row++
      place(effect, depth + 1)
    }
  }
  const roots = messages.filter(
    ({ causationId }) => causationId === null || !known.has(causationId),
  )
  for (const [index, root] of [...roots, ...messages].entries()) {
    if (seen.has(root.id)) continue
    if (index > 0) row++
    place(root, 0)
  }
  return placed
}

const cut = (text: string, most: number): string =>
  text.length > most ? `${text.slice(0, most - 1)}…` : text
/** SVG has no isolation of text, so what turns it is left out. */
const plain = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '·')

function whereOf({ steps, letters, handledBy }: WayMessage): string {
  const from = steps.find(({ what }) => what === 'sent')?.app
  const to =
    steps.findLast(({ what }) => what === 'received')?.place ??
    handledBy[0] ??
    letters[0]?.queue ??
    letters[0]?.place ??
    steps[0]?.place.split('/').slice(1).join(' ')
  return [from, to].filter((one) => one !== undefined).join(' → ')
}

export function Picture({
  messages,
  chosen,
  choose,
}: {
  messages: readonly WayMessage[]
  chosen: string | undefined
  choose: (id: string) => void
}): VNode {
  const placed = layout(messages)
  const width = Math.max(...placed.map(({ x }) => x)) + BOX.width + BOX.pad
  const height = Math.max(...placed.map(({ y }) => y)) + BOX.height + BOX.pad
  const byId = new Map(placed.map((one) => [one.message.id, one]))
  return (
    <div
      class="picture"
      tabIndex={0}
      role="region"
      aria-label="Picture of the way; the list below says the same"
    >
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
        {placed.map(({ message, x, y }) => {
          const cause = byId.get(message.causationId ?? '')
          if (cause === undefined) return null
          const from = { x: cause.x + BOX.width, y: cause.y + BOX.height / 2 }
          const to = { x: x - 5, y: y + BOX.height / 2 }
          const half = from.x + BOX.gapX / 2
          return (
            <g key={message.id} class="edge">
              <path d={`M${from.x},${from.y} C${half},${from.y} ${half},${to.y} ${to.x},${to.y}`} />
              <path class="tip" d={`M${to.x - 5},${to.y - 5} l7,5 l-7,5`} />
            </g>
          )
        })}
        {placed.map(({ message, x, y }) => {
          const [tone, words] = fateOf(message)
          return (
            <g
              key={message.id}
              class={`node ${tone} ${message.id === chosen ? 'chosen' : ''}`}
              transform={`translate(${x},${y})`}
              onClick={() => {
                choose(message.id)
                document
                  .getElementById(`message-${message.id}`)
                  ?.scrollIntoView({ block: 'center' })
              }}
            >
              <rect width={BOX.width} height={BOX.height} rx="10" />
              <rect class="stripe" width="5" height={BOX.height - 20} x="0" y="10" rx="2.5" />
              <text x="16" y="22" class="node-type">
                {cut(plain(message.type ?? 'a message'), 25)}
              </text>
              <text x="16" y="39" class="node-where">
                {cut(plain(whereOf(message)), 33)}
              </text>
              <text x="16" y="54" class="node-fate">
                {words}
              </text>
            </g>
          )
        })}
      </svg>
    </div>
  )
}
