namespace Slipway.Statistics;

/// <summary>The direction a test looks in.</summary>
public enum Alternative
{
    /// <summary>Any difference.</summary>
    TwoSided,

    /// <summary>The first sample's quantity is smaller than the second's; each test states which quantity.</summary>
    Less,

    /// <summary>The first sample's quantity is larger than the second's; each test states which quantity.</summary>
    Greater,
}
