/**
 * A place that does not decide what `Type` is: the `NoInfer` of TypeScript 5.4, in words that older
 * ones understand too. What may not be inferred is looked up behind a condition.
 */
export type Given<Type> = [Type][Type extends unknown ? 0 : never]
