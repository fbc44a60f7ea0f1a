import type { VNode } from 'preact'
import type { Attempt } from '../api.ts'
import { Time } from './basics.tsx'
import { Safe } from './safe.tsx'

/** What became of each attempt. Numbers may be missing: not all are kept. */
export function Attempts({ history }: { history: readonly Attempt[] }): VNode {
  return (
    <ol class="attempts">
      {history.map(({ attempt, at, causes }) => (
        <li key={attempt} value={attempt}>
          <Time at={at} />
          {causes.map((cause, index) => (
            <div key={index}>
              <span class="quiet">{index === 0 ? 'error' : 'caused by'}</span> <Safe text={cause} />
            </div>
          ))}
        </li>
      ))}
    </ol>
  )
}
