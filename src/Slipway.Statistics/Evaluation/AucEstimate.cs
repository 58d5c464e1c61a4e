using Slipway.Statistics.Distributions;
using Slipway.Statistics.Proportions;

namespace Slipway.Statistics.Evaluation;

/// <summary>An area under the ROC curve with DeLong's standard error.</summary>
/// <param name="Auc">0 to 1.</param>
/// <param name="StandardError">At least 0; 0 when the classes are separated completely.</param>
/// <param name="Positives">Positive rows.</param>
/// <param name="Negatives">Negative rows.</param>
public readonly record struct AucEstimate(double Auc, double StandardError, int Positives, int Negatives)
{
    /// <summary>Confidence interval, normal on the logit scale so that it stays within 0 and 1 (Pepe 2003, section 5.2).</summary>
    /// <param name="alpha">One minus the coverage, between 0 and 1.</param>
    /// <returns>
    /// The interval. With complete separation the standard error is 0 and says nothing; then the Clopper-Pearson interval of as many
    /// successes as the smaller class has rows, a conservative stand-in.
    /// </returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="alpha"/> is outside its range.</exception>
    public Interval Interval(double alpha = 0.05)
    {
        Require.OpenUnit(alpha);
        if (Auc is 0 or 1)
        {
            var trials = Math.Min(Positives, Negatives);
            return Proportion.ClopperPearsonInterval(Auc == 1 ? trials : 0, trials, alpha);
        }

        var halfWidth = Normal.Quantile(1 - 0.5 * alpha) * StandardError / (Auc * (1 - Auc));
        var logit = Math.Log(Auc / (1 - Auc));
        return new Interval(1 / (1 + Math.Exp(halfWidth - logit)), 1 / (1 + Math.Exp(-halfWidth - logit)));
    }
}
