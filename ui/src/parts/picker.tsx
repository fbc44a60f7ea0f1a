import type { VNode } from 'preact'
import type { Overview, SourceView } from '../api.ts'
import { go, type Place } from '../router.ts'

/** The source that is named in the address, or the first one. */
export function sourceOf(overview: Overview | undefined, place: Place): SourceView | undefined {
  const name = place.query['source']
  const { sources = [] } = overview ?? {}
  return name === undefined ? sources[0] : sources.find((source) => source.name === name)
}

/** Chooses one of several sources. */
export function SourcePicker({
  sources,
  place,
  chosen,
}: {
  sources: readonly SourceView[]
  place: Place
  chosen: string
}): VNode | null {
  if (sources.length < 2) return null
  return (
    <label class="field picker">
      <span>App or store</span>
      <select
        value={chosen}
        onChange={(event) => go(place.page, { source: event.currentTarget.value })}
      >
        {sources.map(({ name }) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </label>
  )
}
