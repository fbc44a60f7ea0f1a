import type { ComponentChildren, VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { timeText } from '../words.ts'

export type Tone = 'good' | 'warn' | 'bad' | 'info' | 'calm'

export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }): VNode {
  return <span class={`badge ${tone}`}>{children}</span>
}

export function Notice({
  tone,
  title,
  children,
}: {
  tone: Tone
  title: string
  children?: ComponentChildren
}): VNode {
  return (
    <div class={`notice ${tone}`} role={tone === 'bad' ? 'alert' : 'status'}>
      <strong>{title}</strong>
      {children === undefined ? null : <div>{children}</div>}
    </div>
  )
}

/** One figure. */
export function Figure({
  name,
  value,
  note,
  tone = 'calm',
  href,
}: {
  name: string
  value: string
  note?: string | undefined
  tone?: Tone
  href?: string | undefined
}): VNode {
  const inside = (
    <>
      <span class="figure-name">{name}</span>
      <span class="figure-value">{value}</span>
      <span class="figure-note">{note ?? '\u00a0'}</span>
    </>
  )
  return href === undefined ? (
    <div class={`figure ${tone}`}>{inside}</div>
  ) : (
    <a class={`figure ${tone}`} href={href}>
      {inside}
    </a>
  )
}

export function Time({ at }: { at: number }): VNode {
  return <time dateTime={new Date(at).toISOString()}>{timeText(at)}</time>
}

export function Empty({ children }: { children: ComponentChildren }): VNode {
  return <p class="empty">{children}</p>
}

export interface Column<Row> {
  readonly name: string
  readonly right?: boolean
  readonly hidden?: boolean
  readonly cell: (row: Row) => ComponentChildren
}

/** A table that scrolls by itself where it is too wide. */
export function Table<Row>({
  caption,
  columns,
  rows,
  rowKey,
  marked,
}: {
  caption: string
  columns: readonly Column<Row>[]
  rows: readonly Row[]
  rowKey: (row: Row) => string
  marked?: (row: Row) => boolean
}): VNode {
  return (
    <div class="table-frame" tabIndex={0} role="region" aria-label={caption}>
      <table>
        <caption class="unseen">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ name, right, hidden }) => (
              <th scope="col" class={right ? 'right' : ''} key={name}>
                {hidden ? <span class="unseen">{name}</span> : name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)} class={marked?.(row) ? 'marked' : ''}>
              {columns.map(({ name, right, cell }) => (
                <td key={name} class={right ? 'right' : ''}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** Asks before something is done. The work may report how far it is. */
export function Ask({
  title,
  children,
  action,
  danger = false,
  work,
  done,
}: {
  title: string
  children: ComponentChildren
  action: string
  danger?: boolean
  work: (report: (text: string) => void, signal: AbortSignal) => Promise<void>
  /** It has closed; `begun`: with the work done, or begun. */
  done: (begun: boolean) => void
}): VNode {
  const dialog = useRef<HTMLDialogElement>(null)
  const [stop] = useState(() => new AbortController())
  const [state, setState] = useState<{ running: boolean; text: string; error: boolean }>({
    running: false,
    text: '',
    error: false,
  })
  useEffect(() => {
    dialog.current?.showModal()
    return () => stop.abort()
  }, [])
  const begun = useRef(false)
  const run = async (): Promise<void> => {
    begun.current = true
    setState({ running: true, text: 'Working …', error: false })
    try {
      await work((text) => setState({ running: true, text, error: false }), stop.signal)
      // By itself it gives the focus back to where it came from.
      dialog.current?.close()
    } catch (thrown) {
      setState({ running: false, text: (thrown as Error).message, error: true })
    }
  }
  return (
    <dialog ref={dialog} onClose={() => done(begun.current)} aria-labelledby="ask-title">
      <h2 id="ask-title">{title}</h2>
      <div class="dialog-body">{children}</div>
      <p role="status" class={state.error ? 'error-text' : 'quiet'}>
        {state.text || '\u00a0'}
      </p>
      <div class="buttons end">
        <button type="button" onClick={() => dialog.current?.close()}>
          {state.running ? 'Stop' : 'Cancel'}
        </button>
        <button
          type="button"
          class={danger ? 'danger' : 'primary'}
          disabled={state.running}
          onClick={() => void run()}
        >
          {action}
        </button>
      </div>
    </dialog>
  )
}
